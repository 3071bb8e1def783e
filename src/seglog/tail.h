// Where a log ends when nobody sealed it: the newest segment of a writer that was killed, or of a
// log that was copied while in use. FORMAT.md, "The end of a segment that has no seal". Recovery
// cuts the file there; a reader without a live writer stops there.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "seglog/format.h"

namespace mxring::seglog {

struct TailQuestion {
  int fd = -1;
  std::uint64_t file_bytes = 0;
  SegmentHeader header;
  std::uint64_t durable = 0;  // of the state page, when there is one
  bool poisoned = false;      // the log ends at `durable` whatever follows
  bool want_index = false;
};

struct Tail {
  std::uint64_t position = kHeaderBlockBytes;  // the end: where a seal goes
  std::uint64_t next_offset = 0;               // of the log
  bool sealed = false;                         // there is a seal at `position` already
  std::uint64_t records = 0;                   // good ones before the end
  std::uint64_t damaged_records = 0;           // lost or damaged, though they had been durable
  std::uint64_t torn_bytes = 0;                // after the end
  std::int64_t newest_us = 0;
  std::vector<IndexEntry> index;
};

// Reads the whole segment. `progress` may be empty.
Tail find_tail(const TailQuestion& question, const std::function<void(double)>& progress = {});

// Tells when the next index entry is due: about every MiB or 1000 records.
class IndexPace {
 public:
  static constexpr std::uint64_t kBytes = 1 << 20;
  static constexpr std::uint64_t kRecords = 1000;
  // Asked once for every record, in order, with its place.
  bool due(std::uint64_t offset, std::uint64_t position) {
    if (position < last_position_ + kBytes && offset < last_offset_ + kRecords) return false;
    start(offset, position);
    return true;
  }
  void start(std::uint64_t offset, std::uint64_t position) {
    last_offset_ = offset;
    last_position_ = position;
  }

 private:
  std::uint64_t last_offset_ = 0;
  std::uint64_t last_position_ = 0;
};

}  // namespace mxring::seglog
