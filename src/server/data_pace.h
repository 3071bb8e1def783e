// How fast the content of one message arrives (limits: data rate, silence). The rate is that of any
// window of active time: what lies in a gap longer than data_gap counts as silence, of which there
// is a limit for one gap and one for all of a message.
//
// Time comes in as an argument. Thread: the shard's. Look at it now and then: tick_ns().
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#include "base/clock.h"
#include "base/limits.h"

namespace mxring::server {

class DataPace {
 public:
  enum class Verdict : std::uint8_t { kFine, kTooSlow, kSilent };

  // A message begins.
  void begin(base::MonoTime now) {
    *this = DataPace();
    last_ = now;
  }
  // It was not the client that kept bytes waiting: the window begins anew, silence stays counted.
  void forgive(base::MonoTime now) {
    const std::int64_t silence_ns = silence_ns_;
    begin(now);
    silence_ns_ = silence_ns;
  }
  void add(std::uint64_t bytes, base::MonoTime now, const base::Limits& limits) {
    const std::int64_t gap_ns = now - last_;
    last_ = now;
    if (gap_ns > limits.data_gap_ns) {
      silence_ns_ += gap_ns;
    } else {
      pass(gap_ns, limits);
    }
    parts_[current_] += bytes;
  }
  Verdict look(base::MonoTime now, const base::Limits& limits) const {
    const std::int64_t gap_ns = now - last_;
    const std::int64_t all_ns = silence_ns_ + (gap_ns > limits.data_gap_ns ? gap_ns : 0);
    if (gap_ns > limits.data_silence_ns || all_ns > limits.data_silence_all_ns) {
      return Verdict::kSilent;
    }
    return slow_ ? Verdict::kTooSlow : Verdict::kFine;
  }
  static std::int64_t tick_ns(const base::Limits& limits) {
    return std::max<std::int64_t>(
        std::min(limits.data_rate_window_ns / static_cast<std::int64_t>(kParts),
                 limits.data_silence_ns / 4),
        base::kNsPerMs);
  }

 private:
  // "Any window" is honoured to within a sixth of it.
  static constexpr std::size_t kParts = 6;

  void pass(std::int64_t active_ns, const base::Limits& limits) {
    const std::int64_t part_ns =
        std::max<std::int64_t>(limits.data_rate_window_ns / static_cast<std::int64_t>(kParts), 1);
    part_ns_ += active_ns;
    // More parts than there are hold nothing that is not forgotten.
    for (std::size_t turns = 0; part_ns_ >= part_ns && turns <= kParts; ++turns) {
      part_ns_ -= part_ns;
      turn(limits);
    }
    part_ns_ %= part_ns;
  }
  void turn(const base::Limits& limits) {
    const std::uint64_t bytes_min = limits.data_rate_bytes *
                                    static_cast<std::uint64_t>(limits.data_rate_window_ns) /
                                    base::kNsPerSecond;
    filled_ = std::min(filled_ + 1, kParts);
    if (filled_ == kParts &&
        std::accumulate(parts_.begin(), parts_.end(), std::uint64_t{0}) < bytes_min) {
      slow_ = true;
    }
    current_ = (current_ + 1) % kParts;
    parts_[current_] = 0;
  }

  std::array<std::uint64_t, kParts> parts_{};
  std::size_t current_ = 0;
  std::size_t filled_ = 0;
  std::int64_t part_ns_ = 0;     // active time in the current part
  std::int64_t silence_ns_ = 0;  // in gaps that are over
  base::MonoTime last_;          // when the last bytes came
  bool slow_ = false;
};

}  // namespace mxring::server
