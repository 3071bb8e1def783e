// Key records: a key of a kind we know, or a problem; and what is no key leaves the others alone.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "mailauth/dkim/key_record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::mailauth;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto key = dkim::parse_key_record(text);
  if (key) {
    const bool rsa = key->type == mxring::crypto::KeyType::kRsa;
    MXRING_ASSERT(key->rsa.has_value() == rsa);
    MXRING_ASSERT(rsa ? key->bits() >= 512 && key->bits() <= 4096 : key->bits() == 256);
  } else {
    MXRING_ASSERT(!key.error().what.empty());
    MXRING_ASSERT(key.error().result == Result::kPermerror ||
                  key.error().result == Result::kPolicy);
  }
  const std::string good = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
  const dkim::KeySet keys({text, good, text});
  MXRING_ASSERT(keys.keys().size() == (key ? 3U : 1U));
  MXRING_ASSERT(keys.bytes() >= sizeof(dkim::KeySet));
  return 0;
}
