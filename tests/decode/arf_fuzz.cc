// A feedback report.
#include <cstdint>

#include "base/base64.h"
#include "tests/decode/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::decode;
  const std::string_view report(reinterpret_cast<const char*>(data), size);
  const std::string encoded = mxring::base::encode_base64(report);
  const Kind kind = check_decode(
      with_part("message/feedback-report\r\nContent-Transfer-Encoding: base64", encoded));
  MXRING_ASSERT(kind == Kind::kComplaint);
  // Fields of the report and of the message complained of.
  const std::size_t half = size / 2;
  const std::string both = std::string(report.substr(0, half)) +
                           "\r\n--=_\r\nContent-Type: message/rfc822\r\n\r\n" +
                           std::string(report.substr(half));
  check_decode(with_part("message/feedback-report", both));
  return 0;
}
