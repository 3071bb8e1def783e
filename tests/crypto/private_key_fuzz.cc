// Private key files: refused with a reason, or a key that is written and read back as itself.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "crypto/private_key.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::crypto;
  const auto key = PrivateKey::from_pem({reinterpret_cast<const char*>(data), size});
  if (!key) {
    MXRING_ASSERT(!key.error().empty());
    return 0;
  }
  const std::string pem = key->to_pem();
  const auto again = PrivateKey::from_pem(pem);
  MXRING_ASSERT(again && again->to_pem() == pem && again->public_key() == key->public_key());
  return 0;
}
