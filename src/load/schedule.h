// When each message of an open-loop run is due: the k-th message of the run at exactly
// k * period / count after its start, whatever happened to those before it. Worker w of n sends the
// messages w, w + n, w + 2n, ...; their union is the run. Pure arithmetic on integers, so nothing
// drifts however long the run is.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mxring::load {

// `count` messages every `period_ns`. Bounded so that count * period_ns fits 64 bits.
struct Rate {
  std::uint64_t count = 0;
  std::uint64_t period_ns = 0;

  // "1000/s", "1000" (a second), "0.5/s", "90/m", "20/h". Nothing when it is no rate, is 0, is
  // above 10,000,000 a second, or has more digits than fit the bound.
  static std::optional<Rate> parse(std::string_view text);
  double per_second() const {
    return static_cast<double>(count) * 1e9 / static_cast<double>(period_ns);
  }
};

class Schedule {
 public:
  Schedule(Rate rate, std::uint32_t worker, std::uint32_t workers)
      : rate_(rate), worker_(worker), workers_(workers) {}

  // The number in the whole run of this worker's nth message, counted from 0.
  std::uint64_t number(std::uint64_t nth) const { return nth * workers_ + worker_; }
  // When it is due, in nanoseconds after the run's start.
  std::int64_t planned_ns(std::uint64_t nth) const;
  // How many of this worker's messages are due before `ns`, and how many are among the run's first
  // `messages`.
  std::uint64_t count_before(std::int64_t ns) const;
  std::uint64_t count_among(std::uint64_t messages) const;

 private:
  Rate rate_;
  std::uint32_t worker_;
  std::uint32_t workers_;
};

}  // namespace mxring::load
