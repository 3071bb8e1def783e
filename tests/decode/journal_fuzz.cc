// The text of a journal envelope.
#include <cstdint>

#include "tests/decode/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::decode;
  const std::string_view envelope(reinterpret_cast<const char*>(data), size);
  std::string text =
      "X-MS-Journal-Report:\r\nContent-Type: multipart/mixed; boundary=\"=_\"\r\n\r\n--=_\r\n";
  text.append("Content-Type: text/plain; charset=utf-8\r\n\r\n").append(envelope);
  text += "\r\n--=_\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\n--=_--\r\n";
  check_decode(text);
  return 0;
}
