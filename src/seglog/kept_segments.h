// The segments nobody writes to any more, oldest first, and which of them retention takes away.
// What went is remembered until somebody asks, so that it can be said.
//
// Failure: a file that cannot be removed stays in the list, and is tried again.
// Thread: the writer's.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "seglog/format.h"
#include "seglog/groups.h"
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

// What groups keep that retention would have taken.
struct Held {
  std::uint64_t bytes = 0;  // beyond retention
  std::string group;        // the one furthest back; empty: nothing is held
  std::uint64_t next = 0;   // where it stands
  bool damaged = false;     // its cursor is, and holds everything
  bool full = false;        // more than they may: no new mail until it is less
  bool unknown = false;     // the groups cannot be read: everything is kept
};

class KeptSegments {
 public:
  struct Place {
    int directory_fd = -1;            // stays open longer than the object
    std::uint64_t segment_bytes = 0;  // of a full segment: one of half that is worth using again
    std::uint64_t hold_bytes = 0;     // what groups may keep beyond retention; 0 = no bound
    bool drop_when_full = false;      // the oldest goes; else `Held::full` is set
  };
  // The segment in use: it stays, and counts.
  struct Active {
    std::uint64_t base_offset = 0;
    std::uint64_t bytes = 0;
  };

  KeptSegments(Place place, Retention::Options retention, std::deque<SealedSegment> segments);

  void add(SealedSegment segment);  // its base offset is the greatest
  Retention& retention() { return retention_; }
  // Takes away what is due and not held by a group. `spares` may take a file over. `disk_low`: with
  // drop_when_full and no hold_bytes the oldest that is held goes as well.
  void retire(const Active& active, SparePool& spares, bool disk_low);
  const Held& held() const { return held_; }
  // Records that holding groups have lost by drop_when_full, since the start.
  const std::map<std::string, std::uint64_t>& dropped() const { return dropped_; }

  std::vector<Removal> take_removals();
  // Why a file could not be removed, one line; empty: all could.
  std::string take_trouble();
  std::uint64_t bytes() const { return bytes_; }
  const std::deque<SealedSegment>& segments() const { return segments_; }

 private:
  bool may_go(std::uint64_t next_offset, const Active& active, bool disk_low, RemovedFor& why);
  void find_holds();
  std::uint64_t beyond_retention(const Active& active) const;
  void count_dropped(std::uint64_t first, std::uint64_t next);
  std::uint64_t next_after_oldest(const Active& active) const;
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
  std::vector<Hold> holds_;    // as of this retire()
  bool holds_known_ = false;
  Held held_;
  std::map<std::string, std::uint64_t> dropped_;
};

}  // namespace mxring::seglog
