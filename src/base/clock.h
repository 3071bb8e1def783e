// Time as arguments. Nothing below `server` reads a clock: a loop turn reads both clocks once and
// hands the values down, so tests run whole sessions in invented time.
#pragma once

#include <compare>
#include <cstdint>

namespace mxring::base {

// Nanoseconds on a monotonic clock with no fixed origin: for deadlines and rates.
struct MonoTime {
  std::int64_t ns = 0;
  friend auto operator<=>(const MonoTime&, const MonoTime&) = default;
};

// Microseconds since 1970-01-01 UTC: for records, trace fields and logs.
struct WallTime {
  std::int64_t us = 0;
  friend auto operator<=>(const WallTime&, const WallTime&) = default;
};

struct Now {
  MonoTime mono;
  WallTime wall;
};

constexpr std::int64_t kNsPerMs = 1'000'000;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

constexpr MonoTime operator+(MonoTime t, std::int64_t ns) {
  return {t.ns + ns};
}
constexpr std::int64_t operator-(MonoTime a, MonoTime b) {
  return a.ns - b.ns;
}

// Reads both clocks. Called once per loop turn by the threads' loops, by commands, and by tests
// that want real time; never by parsers, sessions, evaluators or the log format.
Now read_clocks();

}  // namespace mxring::base
