// The RSA public operation x^65537 mod n for eight signatures under eight keys at once, one per
// 64-bit lane of AVX-512 registers, with the 52-bit multiplications of AVX-512 IFMA.
//
// Numbers are digits of 52 bits, the lowest first. A size is a number of digits L; it serves every
// modulus with 4n < 2^(52 L), since almost-Montgomery multiplication (S. Gueron, "Efficient
// software implementations of modular exponentiation", 2012) then keeps every result below 2n with
// no subtraction between the steps. Smaller moduli simply have zeros on top.
//
// Thread: one per LaneScratch. Memory: nothing is allocated. Failure: none; without such a
// processor lanes_available() says so and the rest must not be called.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace mxring::crypto {

inline constexpr std::size_t kLanes = 8;
inline constexpr std::uint64_t kLaneExponent = 65537;
inline constexpr std::size_t kDigitBits = 52;
// For moduli of up to 1038, 1662, 2078, 3118 and 4096 bits; a multiple of four each.
inline constexpr std::array<std::size_t, 5> kLaneDigits = {20, 32, 40, 60, 80};
inline constexpr std::size_t kLaneDigitsMax = kLaneDigits.back();

// The index in kLaneDigits of the smallest size for a modulus of so many bits.
constexpr std::size_t lane_size(std::uint32_t modulus_bits) {
  std::size_t size = 0;
  while (kDigitBits * kLaneDigits[size] < modulus_bits + 2) ++size;
  return size;
}

bool lanes_available();

// One signature: numbers in digits, as many as the size says. `encoding` and `signature` are
// big-endian octets, `octets` of each, and both below the modulus.
struct LaneInput {
  const std::uint64_t* modulus = nullptr;
  const std::uint64_t* r_squared = nullptr;  // 2^(104 L) mod n
  std::uint64_t n0_inverse = 0;              // -1/n mod 2^52
  const std::uint8_t* signature = nullptr;
  const std::uint8_t* encoding = nullptr;
  std::size_t octets = 0;
};

struct LaneScratch;
struct LaneScratchDeleter {
  void operator()(LaneScratch* scratch) const;
};
std::unique_ptr<LaneScratch, LaneScratchDeleter> make_lane_scratch();

// Bit i of the result: signature i to the 65537th power is encoding i. All eight inputs must be
// filled; those that are not needed may repeat another.
unsigned match_lanes(LaneScratch& scratch, std::size_t size,
                     std::span<const LaneInput, kLanes> inputs);

// Big-endian octets as digits; `out` is filled up with zeros.
void to_digits(std::span<std::uint64_t> out, std::span<const std::uint8_t> octets);

}  // namespace mxring::crypto
