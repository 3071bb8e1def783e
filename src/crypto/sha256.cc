#include "crypto/sha256.h"

#include <wolfssl/options.h>
// Options come first: they decide the layout of what follows.
#include <wolfssl/wolfcrypt/sha256.h>

#include <algorithm>
#include <new>

#include "base/assert.h"

namespace mxring::crypto {

namespace {

wc_Sha256* library_state(std::array<std::byte, 512>& bytes) {
  static_assert(sizeof(wc_Sha256) <= sizeof bytes);
  static_assert(alignof(wc_Sha256) <= 16);
  return std::launder(reinterpret_cast<wc_Sha256*>(bytes.data()));
}

}  // namespace

Sha256::Sha256() : state_{} {
  new (state_.data()) wc_Sha256{};
  MXRING_ASSERT(wc_InitSha256(library_state(state_)) == 0);
}

Sha256::~Sha256() {
  wc_Sha256Free(library_state(state_));
}

void Sha256::update(std::string_view bytes) {
  // The library counts in 32 bits.
  constexpr std::size_t kStepBytes = std::size_t{1} << 30;
  while (!bytes.empty()) {
    const std::string_view step = bytes.substr(0, kStepBytes);
    MXRING_ASSERT(wc_Sha256Update(library_state(state_), reinterpret_cast<const byte*>(step.data()),
                                  static_cast<word32>(step.size())) == 0);
    bytes.remove_prefix(step.size());
  }
}

Sha256Digest Sha256::finish() {
  Sha256Digest digest{};
  MXRING_ASSERT(wc_Sha256Final(library_state(state_), digest.data()) == 0);
  return digest;
}

Sha256Digest sha256(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

std::string to_hex(const Sha256Digest& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(digest.size() * 2);
  for (const std::uint8_t octet : digest) {
    out += kDigits[octet >> 4];
    out += kDigits[octet & 15];
  }
  return out;
}

}  // namespace mxring::crypto
