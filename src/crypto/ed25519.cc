#include "crypto/ed25519.h"

#include <wolfssl/options.h>
// Options come first: they decide the layout of what follows.
#include <wolfssl/wolfcrypt/ed25519.h>

#include <limits>

#include "base/assert.h"

namespace mxring::crypto {

namespace {

// Little-endian, as everything in RFC 8032.
using Number = std::array<std::uint8_t, 32>;

// The order of the base point, 2^252 + 27742317777372353535851937790883648493.
constexpr Number kOrder = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
                           0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
                           0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10};

// The field's prime, 2^255 - 19.
constexpr Number kPrime = {0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                           0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f};

bool less(const Number& a, const Number& b) {
  for (std::size_t i = a.size(); i-- > 0;) {
    if (a[i] != b[i]) return a[i] < b[i];
  }
  return false;
}

const byte* octets(std::string_view text) {
  return reinterpret_cast<const byte*>(text.data());
}

}  // namespace

bool ed25519_verify(const Ed25519PublicKey& key, std::string_view signature,
                    std::string_view message) {
  if (signature.size() != ED25519_SIG_SIZE) return false;
  if (message.size() > std::numeric_limits<word32>::max()) return false;
  // RFC 8032 5.1.7 and 5.1.3 ask for these; the library's versions differ in which they check.
  Number scalar;
  for (std::size_t i = 0; i < scalar.size(); ++i) {
    scalar[i] = static_cast<std::uint8_t>(signature[scalar.size() + i]);
  }
  Number y = key;
  y[31] &= 0x7f;  // the sign of x
  if (!less(scalar, kOrder) || !less(y, kPrime)) return false;

  ed25519_key library_key;
  MXRING_ASSERT(wc_ed25519_init(&library_key) == 0);
  int valid = 0;
  // "Trusted": verification itself decodes the point and fails where it is none.
  const bool done =
      wc_ed25519_import_public_ex(key.data(), ED25519_PUB_KEY_SIZE, &library_key, 1) == 0 &&
      wc_ed25519_verify_msg(octets(signature), ED25519_SIG_SIZE, octets(message),
                            static_cast<word32>(message.size()), &valid, &library_key) == 0;
  wc_ed25519_free(&library_key);
  return done && valid == 1;
}

}  // namespace mxring::crypto
