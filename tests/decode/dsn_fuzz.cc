// A delivery status, in plain and in base64.
#include <cstdint>

#include "base/base64.h"
#include "tests/decode/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::decode;
  const std::string_view status(reinterpret_cast<const char*>(data), size);
  const TokenPattern patterns[] = {*TokenPattern::parse("recipient: a{}"),
                                   *TokenPattern::parse("x-t: *-{}b*")};
  Options options;
  options.token_patterns = patterns;
  // As bytes in base64 nothing in it can be a boundary: it is a bounce for certain.
  const std::string encoded = mxring::base::encode_base64(status);
  const Kind kind = check_decode(with_part("message/global-delivery-status\r\nContent-Transfer-"
                                           "Encoding: base64",
                                           encoded),
                                 options);
  MXRING_ASSERT(kind == Kind::kBounce);
  check_decode(with_part("message/delivery-status", status), options);
  return 0;
}
