// What wolfCrypt calculates with an RSA modulus: the public operation one signature at a time, and
// the constants with which rsa_lanes.h does eight.
//
// Moduli are odd, of 512 to 4096 bits, big-endian without leading zeros. Thread: any.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace mxring::crypto {

// base^exponent mod modulus. `base` is below the modulus; it and `out` are as long as the modulus.
// False when the library fails, which no input should cause.
[[nodiscard]] bool public_operation(std::span<const std::uint8_t> modulus, std::uint64_t exponent,
                                    std::span<const std::uint8_t> base,
                                    std::span<std::uint8_t> out);

struct LaneModulus {
  std::size_t size = 0;               // index in kLaneDigits
  std::uint64_t n0_inverse = 0;       // -1/n mod 2^52
  std::vector<std::uint64_t> digits;  // of n, then of R^2 mod n; empty: not for the lanes
};

LaneModulus prepare_for_lanes(std::span<const std::uint8_t> modulus, std::uint32_t bits);

}  // namespace mxring::crypto
