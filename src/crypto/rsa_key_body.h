// What an RsaPublicKey keeps; seen by the parser and the verifier only.
#pragma once

#include <cstdint>
#include <vector>

#include "crypto/rsa.h"

namespace mxring::crypto {

// PKCS #1 v1.5 with SHA-256 needs 62 bytes; 512 bits is what anybody ever used as the least.
constexpr std::uint32_t kRsaBitsMin = 512;
constexpr std::uint32_t kRsaBitsMax = 4096;
constexpr std::size_t kRsaBytesMax = kRsaBitsMax / 8;
// A longer exponent makes each check as slow as its owner likes. All real ones are 65537, 3 or 17.
constexpr std::size_t kRsaExponentBytesMax = 8;

struct RsaPublicKey::Body {
  std::uint32_t bits = 0;
  std::uint64_t exponent = 0;
  std::vector<std::uint8_t> modulus;  // big-endian, no leading zero

  // For the lanes; empty where they cannot be used (other exponents, other processors).
  std::vector<std::uint64_t> digits;  // of n, then of R^2 mod n; rsa_lanes.h
  std::uint64_t n0_inverse = 0;
  std::size_t lane_size = 0;

  void prepare_lanes();
};

}  // namespace mxring::crypto
