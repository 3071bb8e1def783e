// Which of the oldest segments may go, by size and by age. Pure: clocks and segments are arguments.
//
// Age is told by the wall clock, and wall clocks are set, by people and by time servers that are
// wrong. What one bad second deleted could not be brought back. So a clock that has moved against
// the monotonic one by a minute within an hour is not believed for an hour: nothing goes by age.
// After that at most two segments go by age for each one that is filled, until nothing is overdue
// any more. The same holds at a start at which the wall clock is before the newest record, or
// more than a day after it: it may have been wrong before we looked.
//
// Thread: the writer's.
#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"

namespace mxring::seglog {

enum class RemovedFor : std::uint8_t {
  kAge,
  kBytes,
  kHoldFull,  // groups held it, and may hold no more
};

class Retention {
 public:
  struct Options {
    std::uint64_t bytes = 0;  // 0 = keep all
    std::int64_t age_ns = 0;  // 0 = keep all
  };
  // The oldest segment and what all of them take up.
  struct Oldest {
    std::int64_t newest_us = 0;
    std::uint64_t all_bytes = 0;
  };

  explicit Retention(Options options) : options_(options) {}

  // At start, with the newest time that the log knows of; 0 when it is empty.
  void begin(base::Now now, std::int64_t newest_us);
  // Once a second or so: looks at both clocks.
  void look(base::Now now);
  // A segment has been filled: up to two more may go by age.
  void note_filled();

  // Whether the oldest may go now, and why. Asked again after each that went.
  std::optional<RemovedFor> due(const Oldest& oldest) const;
  // The oldest went for this reason.
  void note_removed(RemovedFor why);
  // Nothing is overdue by age: a clock on probation is believed again.
  void note_none_overdue();

  bool by_age() const { return options_.age_ns != 0; }
  bool overdue(std::int64_t newest_us) const;  // by age, whether or not the clock is believed
  // By how much the wall clock moved when it was last found moving, and whether that is news.
  std::optional<std::int64_t> take_moved_us();

  static constexpr std::int64_t kMovedUs = 60 * 1'000'000LL;
  static constexpr std::int64_t kDistrustNs = 3600 * base::kNsPerSecond;
  static constexpr std::int64_t kDownUs = 24 * 3600 * 1'000'000LL;
  static constexpr int kPerFilled = 2;

 private:
  enum class Trust : std::uint8_t {
    kNone,       // nothing goes by age
    kProbation,  // two for each one filled
    kFull,
  };
  void distrust(base::MonoTime now);
  void invariants() const;

  Options options_;
  Trust trust_ = Trust::kFull;
  base::MonoTime trusted_again_;
  base::Now seen_;              // the latest look
  std::int64_t anchor_us_ = 0;  // wall less monotonic, at anchored_
  base::MonoTime anchored_;
  bool begun_ = false;
  int allowed_ = 0;  // on probation
  std::optional<std::int64_t> moved_us_;
};

}  // namespace mxring::seglog
