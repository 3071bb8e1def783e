// RSA public keys in DER: whatever is accepted is in the documented range, can be used on every
// path with one verdict.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "crypto/rsa.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::crypto;
  const std::string_view der(reinterpret_cast<const char*>(data), size);
  const auto key = RsaPublicKey::parse(der);
  if (!key) return 0;
  MXRING_ASSERT(key->bits() >= 512 && key->bits() <= 4096);
  MXRING_ASSERT(key->bytes() >= key->bits() / 8);
  const std::string signature((key->bits() + 7) / 8, '\x01');
  for (const RsaPath path : rsa_paths()) {
    RsaVerifier verifier({&path, 1});
    RsaCheck check{&*key, signature, sha256(der), true};
    RsaCheck* const checks[] = {&check};
    verifier.verify(checks);
    MXRING_ASSERT(!check.valid);
  }
  return 0;
}
