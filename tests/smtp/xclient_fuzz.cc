// XCLIENT's arguments: what is taken is printable ASCII and no longer than what was given.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "smtp/xclient.h"

namespace {

void check(const std::optional<std::string>& value, std::size_t size) {
  if (!value) return;
  MXRING_ASSERT(value->size() <= size && value->size() <= mxring::smtp::kXclientValueBytesMax);
  for (const char c : *value) MXRING_ASSERT(c >= ' ' && c <= '~');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view arguments(reinterpret_cast<const char*>(data), size);
  const auto facts = mxring::smtp::parse_xclient(arguments);
  if (!facts) return 0;
  check(facts->name, size);
  check(facts->helo, size);
  check(facts->protocol, size);
  // Order does not matter, nor blanks around it.
  const auto again = mxring::smtp::parse_xclient("  " + std::string(arguments) + "  ");
  MXRING_ASSERT(again && again->address == facts->address && again->helo == facts->helo);
  return 0;
}
