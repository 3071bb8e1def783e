// The only source of chance in a simulated life: what one seed decides, it decides again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace mxring::sim {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15ULL + 0x1234567) {}

  std::uint64_t next() {  // xorshift-multiply over a counter
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t word = state_;
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9ULL;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBULL;
    return word ^ (word >> 31);
  }
  // 0 to n - 1; n is not 0.
  std::uint64_t below(std::uint64_t n) { return next() % n; }
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }
  // True this many times in a thousand.
  bool permille(std::uint64_t chance) { return below(1000) < chance; }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[below(values.size())];
  }
  // Small ones often, large ones now and then.
  std::uint64_t skewed(std::uint64_t max) { return below(below(max + 1) + 1); }
  // A stream of its own, so that what is asked here does not move what is asked there.
  Dice fork() { return Dice(next()); }

 private:
  std::uint64_t state_;
};

}  // namespace mxring::sim
