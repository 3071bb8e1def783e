// The hash for every table that strangers fill: its key is random, so nobody can choose entries
// that collide, and a table costs what its entries weigh.
//
// Each table owns a hash, whose key is drawn when it is made. Two 64-bit secrets: every word is
// mixed with the state, multiplied by a secret to 128 bits and folded, and the length goes in last.
//
// Pure once made; values compare only with those of the same object.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "base/random.h"

namespace mxring::base {

class KeyedHash {
 public:
  KeyedHash() : state_(random_u64()), multiplier_(random_u64() | 1), last_(random_u64() | 1) {}

  std::uint64_t operator()(std::string_view bytes, std::uint64_t beside = 0) const {
    return hash(bytes, beside, [](std::uint64_t word) { return word; });
  }
  // The same for texts that differ in the case of ASCII letters only, and for no others.
  std::uint64_t ignoring_case(std::string_view bytes) const { return hash(bytes, 0, lower); }

 private:
  template <class Fold>
  std::uint64_t hash(std::string_view bytes, std::uint64_t beside, Fold fold_case) const {
    std::uint64_t state = state_ ^ beside;
    const std::uint64_t length = bytes.size();
    while (bytes.size() >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data(), 8);
      state = fold(state ^ fold_case(word), multiplier_);
      bytes.remove_prefix(8);
    }
    std::uint64_t rest = 0;
    std::memcpy(&rest, bytes.data(), bytes.size());
    state = fold(state ^ fold_case(rest), multiplier_);
    return fold(state ^ length, last_);
  }

  static std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = Wide{a} * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  }

  // Eight bytes at once: 0x20 is set where a byte is one of A to Z.
  static std::uint64_t lower(std::uint64_t word) {
    constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
    constexpr std::uint64_t kTops = 0x80 * kOnes;
    const std::uint64_t low_bits = word & ~kTops;
    const std::uint64_t from_a = low_bits + (0x80 - 'A') * kOnes;
    const std::uint64_t beyond_z = low_bits + (0x80 - 'Z' - 1) * kOnes;
    const std::uint64_t capitals = (from_a ^ beyond_z) & ~word & kTops;
    return word | capitals >> 2;
  }

  std::uint64_t state_;
  std::uint64_t multiplier_;
  std::uint64_t last_;
};

// For standard containers of strings.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const { return hash(text); }
  KeyedHash hash = {};
};

}  // namespace mxring::base
