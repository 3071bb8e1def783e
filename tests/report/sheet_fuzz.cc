// A delivery sheet from any bytes: what is read can be put into SMTP commands and header fields,
// and written and read again is the same.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "report/delivery_sheet.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::report;
  const auto sheet = parse_sheet({reinterpret_cast<const char*>(data), size});
  if (!sheet) {
    MXRING_ASSERT(!sheet.error().empty());
    return 0;
  }
  for (const Delivery& delivery : sheet->deliveries) {
    MXRING_ASSERT(delivery.address.find_first_of("\r\n <>") == std::string::npos);
  }
  const std::string text = to_json(*sheet);
  const auto again = parse_sheet(text);
  MXRING_ASSERT(again && to_json(*again) == text);
  return 0;
}
