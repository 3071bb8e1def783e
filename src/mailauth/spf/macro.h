// SPF macros (RFC 7208 7): their syntax, and what they expand to. Pure functions, linear in the
// text; what they keep of the result is bounded whatever the text asks for, and lies on the stack.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip_address.h"
#include "dns/name.h"

namespace mxring::mailauth::spf {

enum class MacroPlace : std::uint8_t {
  kDomain,       // a domain-spec: not c, r, t
  kExplanation,  // the text found at exp=: those too, and spaces
};

// The values behind the letters. Views: everything they show must outlive the expansion.
struct MacroValues {
  std::string_view sender;         // s
  std::string_view local_part;     // l
  std::string_view sender_domain;  // o
  std::string_view domain;         // d
  base::IpAddress client;          // i, c, v
  std::string_view client_name;    // p, validated; "unknown" when there is none
  std::string_view helo;           // h
  std::string_view receiver;       // r
  std::int64_t now_unix_s = 0;     // t
};

constexpr std::size_t kExplanationBytesMax = 1024;

bool is_macro_string(std::string_view text, MacroPlace place);
// A macro-string that ends in a macro or in a dot and a top label (RFC 7208 7.1).
bool is_domain_spec(std::string_view text);
// Whether `text` has a macro of this letter (given in lower case), in either case.
bool uses_letter(std::string_view text, char letter);

// The name a domain-spec stands for: labels are dropped from the left until it is short enough.
// Nothing when the result is no domain name.
std::optional<dns::Name> expand_name(std::string_view spec, const MacroValues& values);
// Nothing when the syntax is wrong or the result is longer than kExplanationBytesMax.
std::optional<std::string> expand_text(std::string_view text, const MacroValues& values);

}  // namespace mxring::mailauth::spf
