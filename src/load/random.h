// A small fast generator (splitmix64) for message contents: what is drawn for a message follows
// from the message's number alone, so two runs with the same options send the same messages but for
// their identifiers. Not for anything secret.
#pragma once

#include <cstdint>

namespace mxring::load {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next() {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }
  // 0 to n - 1; n is far below 2^64, so the tiny bias of the remainder does not matter.
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  // 0 to 1, without 1.
  double unit() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

}  // namespace mxring::load
