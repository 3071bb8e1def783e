// The sparse index beside a segment. Advisory: written without sync, never trusted without looking
// at the record an entry names, absent whenever that is simpler.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "seglog/format.h"
#include "seglog/log_directory.h"

namespace mxring::seglog {

// The good entries at the start of the file, up to the first that is damaged or does not ascend.
std::vector<IndexEntry> read_index(int directory_fd, const SegmentHeader& segment);

// Appends entries while a segment is written. Errors end the index quietly.
class IndexFile {
 public:
  // A new file for this segment, with these entries to begin with.
  void create(int directory_fd, const SegmentHeader& segment,
              const std::vector<IndexEntry>& entries = {});
  void append(IndexEntry entry);
  void close() { file_.reset(); }

 private:
  void put(const void* bytes, std::size_t size);

  ReadFile file_;  // opened for writing too
  std::uint64_t epoch_ = 0;
  std::uint64_t position_ = 0;
};

}  // namespace mxring::seglog
