#include <wolfssl/options.h>
// Options come first: they decide the layout of what follows.
#include <wolfssl/wolfcrypt/rsa.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "crypto/rsa.h"
#include "crypto/rsa_encoding.h"
#include "crypto/rsa_key_body.h"

namespace mxring::crypto {

namespace {

using Octets = std::array<std::uint8_t, kRsaBytesMax>;

// signature^exponent mod modulus, as many octets as the modulus has.
bool public_operation(std::span<const std::uint8_t> modulus, std::uint64_t exponent,
                      std::string_view signature, std::span<std::uint8_t> out) {
  mp_int n;
  mp_int e;
  mp_int s;
  if (mp_init_multi(&n, &e, &s, nullptr, nullptr, nullptr) != MP_OKAY) return false;
  std::array<std::uint8_t, 8> exponent_octets;
  for (std::size_t i = 0; i < 8; ++i) {
    exponent_octets[i] = static_cast<std::uint8_t>(exponent >> (56 - 8 * i));
  }
  const auto size = static_cast<word32>(modulus.size());
  return mp_read_unsigned_bin(&n, modulus.data(), size) == MP_OKAY &&
         mp_read_unsigned_bin(&e, exponent_octets.data(), 8) == MP_OKAY &&
         mp_read_unsigned_bin(&s, reinterpret_cast<const byte*>(signature.data()), size) ==
             MP_OKAY &&
         mp_exptmod_nct(&s, &e, &n, &s) == MP_OKAY &&
         mp_to_unsigned_bin_len(&s, out.data(), static_cast<int>(size)) == MP_OKAY;
}

}  // namespace

struct RsaVerifier::State {
  static bool in_range(const RsaPublicKey::Body& key, std::string_view signature) {
    // Both are big-endian and of one length, so their octets compare as their values do.
    return signature.size() == key.modulus.size() &&
           std::memcmp(signature.data(), key.modulus.data(), signature.size()) < 0;
  }

  static bool verify_one(const RsaPublicKey::Body& key, const RsaCheck& check) {
    Octets expected;
    Octets found;
    const std::size_t size = key.modulus.size();
    encode_message(std::span(expected).first(size), check.digest);
    return public_operation(key.modulus, key.exponent, check.signature,
                            std::span(found).first(size)) &&
           std::memcmp(expected.data(), found.data(), size) == 0;
  }
};

std::span<const RsaPath> rsa_paths() {
  static constexpr std::array<RsaPath, 1> kPaths = {RsaPath::kWolfCrypt};
  return kPaths;
}

RsaVerifier::RsaVerifier(std::span<const RsaPath>) : state_(std::make_unique<State>()) {}
RsaVerifier::~RsaVerifier() = default;

void RsaVerifier::verify(std::span<RsaCheck* const> checks) {
  for (RsaCheck* const check : checks) {
    const RsaPublicKey::Body& key = *check->key->body_;
    check->valid = State::in_range(key, check->signature) && State::verify_one(key, *check);
  }
}

}  // namespace mxring::crypto
