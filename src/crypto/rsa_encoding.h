// EMSA-PKCS1-v1_5 with SHA-256 (RFC 8017 9.2), the octets that an RSA signature must give back.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

#include "crypto/sha256.h"

namespace mxring::crypto {

// DER of DigestInfo up to the digest: { { sha256, NULL }, OCTET STRING } (RFC 8017 9.2 note 1).
inline constexpr std::array<std::uint8_t, 19> kDigestInfo = {
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
    0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};

// 00 01 FF .. FF 00 DigestInfo digest, filling `out`, which has at least 62 octets.
inline void encode_message(std::span<std::uint8_t> out, const Sha256Digest& digest) {
  const std::size_t tail = kDigestInfo.size() + digest.size();
  out[0] = 0;
  out[1] = 1;
  const auto padding = out.subspan(2, out.size() - tail - 3);
  std::ranges::fill(padding, std::uint8_t{0xff});
  const auto rest = out.last(tail + 1);
  rest[0] = 0;
  std::ranges::copy(kDigestInfo, rest.begin() + 1);
  std::ranges::copy(digest, rest.begin() + 1 + kDigestInfo.size());
}

}  // namespace mxring::crypto
