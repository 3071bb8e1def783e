// Reads an Authentication-Results value (RFC 8601 2.2), and that of an ARC-Authentication-Results
// field (RFC 8617 4.1.1), which has an instance before it.
//
// Tolerant, as such fields come from everywhere: a property that is none ("header.i.x=1",
// "action=none") and a result that is none are left out, and the rest is kept. What leaves no
// doubt about where things end is required: closed comments and quoted strings, and nothing behind
// the name of the service but a version.
//
// Pure. Values are untrusted bytes.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::mailauth::authres {

constexpr std::size_t kResultsMax = 100;  // and properties of one result; further ones are left out

struct Property {
  std::string type;  // "header", in lower case
  std::string name;  // "d", in lower case
  std::string value;
  friend bool operator==(const Property&, const Property&) = default;
};

struct MethodResult {
  std::string method;  // "dkim", in lower case
  std::string result;  // "pass", in lower case
  std::string reason;
  std::vector<Property> properties;
  friend bool operator==(const MethodResult&, const MethodResult&) = default;

  // Null when it is not there; the first one when there are several.
  const std::string* find(std::string_view type, std::string_view name) const;
};

struct Fields {
  std::optional<std::uint32_t> instance;  // i=, ARC
  std::string authserv_id;                // empty when there is none
  std::uint32_t version = 1;
  std::vector<MethodResult> results;
};

enum class ParseError : std::uint8_t {
  kOpenComment,
  kOpenQuote,
  kService,  // something other than a version behind the service's name
};

// The field's value, folding included.
std::expected<Fields, ParseError> parse(std::string_view value);

}  // namespace mxring::mailauth::authres
