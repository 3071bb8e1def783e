// What an RsaPublicKey keeps; seen by the parser and the verifier only.
#pragma once

#include <cstdint>
#include <vector>

#include "crypto/rsa.h"
#include "crypto/rsa_modulus.h"

namespace mxring::crypto {

// PKCS #1 v1.5 with SHA-256 needs 62 bytes; 512 bits is what anybody ever used as the least.
constexpr std::uint32_t kRsaBitsMin = 512;
constexpr std::uint32_t kRsaBitsMax = 4096;
constexpr std::size_t kRsaBytesMax = kRsaBitsMax / 8;
// A longer exponent makes each check as slow as its owner likes. All real ones are 65537, 3 or 17.
constexpr std::uint64_t kRsaExponentMax = (1U << 17) - 1;
constexpr std::size_t kRsaExponentBytesMax = 3;

struct RsaPublicKey::Body {
  std::uint32_t bits = 0;
  std::uint64_t exponent = 0;
  std::vector<std::uint8_t> modulus;  // big-endian, no leading zero
  LaneModulus lanes;  // without digits for other exponents than 65537 and other processors
};

}  // namespace mxring::crypto
