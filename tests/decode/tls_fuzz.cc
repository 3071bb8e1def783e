// JSON.
#include <cstdint>

#include "base/base64.h"
#include "tests/decode/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::decode;
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  check_decode(json);
  check_decode(with_part("application/tlsrpt+json\r\nContent-Transfer-Encoding: base64",
                         mxring::base::encode_base64(json)));
  return 0;
}
