// Macros: what is accepted expands, within its bounds; what is not, does not.
#include <algorithm>
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "mailauth/spf/macro.h"
#include "tests/mailauth/go_seed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::mailauth::spf;
  const std::string input = mxring::test::seed_bytes(data, size);
  // The first line is the macro, the second the values.
  const std::size_t end = std::min(input.find('\n'), input.size());
  const std::string_view macro = std::string_view(input).substr(0, end);
  const std::string_view value = std::string_view(input).substr(std::min(end + 1, input.size()));
  for (const char* ip : {"192.0.2.3", "2001:db8::cb01"}) {
    const MacroValues values{.sender = value,
                             .local_part = value,
                             .sender_domain = "sender.example",
                             .domain = value.substr(0, 255),
                             .client = *mxring::base::IpAddress::parse(ip),
                             .client_name = "client.example",
                             .helo = value,
                             .receiver = "receiver.example",
                             .now_unix_s = 1};
    const bool valid = is_macro_string(macro, MacroPlace::kExplanation);
    const auto text = expand_text(macro, values);
    MXRING_ASSERT(valid || !text);
    if (text) MXRING_ASSERT(text->size() <= kExplanationBytesMax);
    const auto name = expand_name(macro, values);
    if (name) MXRING_ASSERT(name->to_raw_text().size() <= mxring::dns::Name::kTextBytesMax);
    const bool domain = is_macro_string(macro, MacroPlace::kDomain);
    MXRING_ASSERT(!domain || valid);
    MXRING_ASSERT(!is_domain_spec(macro) || domain);
    // Macro or not, an expansion for DNS needs a valid text when it has a macro in it.
    if (macro.find('%') != std::string_view::npos) MXRING_ASSERT(domain || !name);
  }
  return 0;
}
