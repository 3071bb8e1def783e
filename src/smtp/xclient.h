// XCLIENT: what a trusted proxy says about the client it speaks for (Postfix's XCLIENT protocol).
// Attributes: ADDR PORT NAME HELO PROTO LOGIN DESTADDR DESTPORT; values in xtext (RFC 3461 4), or
// [UNAVAILABLE] and [TEMPUNAVAIL] for what the proxy does not know.
//
// Pure. Views into the argument, but for values that were decoded, which lie in the result.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "base/ip_address.h"

namespace mxring::smtp {

struct XclientFacts {
  std::optional<base::IpAddress> address;
  std::optional<std::uint16_t> port;
  std::optional<std::string> name;  // of the client, as the proxy found it; empty: it has none
  std::optional<std::string> helo;
  std::optional<std::string> protocol;  // "SMTP" or "ESMTP"
  std::optional<base::IpAddress> destination;
  std::optional<std::uint16_t> destination_port;
};

enum class XclientError : std::uint8_t {
  kSyntax,     // not NAME=VALUE, or no attribute at all
  kAttribute,  // one we do not know, or given twice
  kValue,      // what an attribute cannot be
};

// The words after EHLO's XCLIENT, in the order in which they are offered.
constexpr std::string_view kXclientAttributes = "NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT";
// No attribute's value is longer than this, encoded.
constexpr std::size_t kXclientValueBytesMax = 1024;

[[nodiscard]] std::expected<XclientFacts, XclientError> parse_xclient(std::string_view arguments);

}  // namespace mxring::smtp
