// Ed25519 verification (RFC 8032) over wolfCrypt. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mxring::crypto {

using Ed25519PublicKey = std::array<std::uint8_t, 32>;

// False for a wrong signature, a signature that is not 64 bytes, or a key that is not a point.
bool ed25519_verify(const Ed25519PublicKey& key, std::string_view signature,
                    std::string_view message);

}  // namespace mxring::crypto
