// The segments nobody writes to any more, oldest first, and which of them retention takes away.
// What went is remembered until somebody asks, so that it can be said.
//
// Failure: a file that cannot be removed stays in the list, and is tried again.
// Thread: the writer's.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "seglog/format.h"
#include "seglog/retention.h"

namespace mxring::seglog {

class SparePool;

// A segment nobody writes to any more.
struct SealedSegment {
  std::uint64_t base_offset = 0;
  std::uint64_t file_bytes = 0;
  std::int64_t newest_us = 0;   // of a file that cannot be read: when it was last written
  std::uint64_t set_aside = 0;  // DamagedName::number; 0: a segment with its own name
  std::string file_name() const {
    return set_aside == 0 ? segment_name(base_offset) : damaged_name({base_offset, set_aside});
  }
};

// Neighbouring segments that went for one reason.
struct Removal {
  RemovedFor why = RemovedFor::kAge;
  std::uint64_t segments = 0;
  std::uint64_t bytes = 0;
  std::uint64_t first_offset = 0;
  std::uint64_t next_offset = 0;  // one past the last
};

class KeptSegments {
 public:
  struct Place {
    int directory_fd = -1;            // stays open longer than the object
    std::uint64_t segment_bytes = 0;  // of a full segment: one of half that is worth using again
  };
  // The segment in use: it stays, and counts.
  struct Active {
    std::uint64_t base_offset = 0;
    std::uint64_t bytes = 0;
  };

  KeptSegments(Place place, Retention::Options retention, std::deque<SealedSegment> segments);

  void add(SealedSegment segment);  // its base offset is the greatest
  Retention& retention() { return retention_; }
  // Takes away what is due. `spares` may take a file over.
  void retire(const Active& active, SparePool& spares);

  std::vector<Removal> take_removals();
  // Why a file could not be removed, one line; empty: all could.
  std::string take_trouble();
  std::uint64_t bytes() const { return bytes_; }
  const std::deque<SealedSegment>& segments() const { return segments_; }

 private:
  bool remove_oldest(SparePool& spares);
  void note(const SealedSegment& gone, std::uint64_t next_offset, RemovedFor why);
  void invariants() const;

  Place place_;
  Retention retention_;
  std::deque<SealedSegment> segments_;
  std::uint64_t bytes_ = 0;  // of all of them
  std::vector<Removal> removals_;
  std::string trouble_;
  std::string troubled_file_;  // said already
};

}  // namespace mxring::seglog
