#include "smtp/xclient.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"

namespace mxring::smtp {

namespace {

using Error = XclientError;

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = base::ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// xtext (RFC 3461 4), with lower-case digits too; printable ASCII only, before and after.
std::optional<std::string> decode(std::string_view value) {
  if (value.empty() || value.size() > kXclientValueBytesMax) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    char c = value[i];
    if (c == '+') {
      if (value.size() - i < 3) return std::nullopt;
      const int high = hex_digit(value[i + 1]);
      const int low = hex_digit(value[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      c = static_cast<char>(high << 4 | low);
      i += 2;
    }
    if (c < ' ' || c > '~') return std::nullopt;
    out += c;
  }
  return out;
}

bool is_unknown(std::string_view value) {
  return base::ascii_iequals(value, "[UNAVAILABLE]") || base::ascii_iequals(value, "[TEMPUNAVAIL]");
}

std::optional<base::IpAddress> parse_address(std::string_view value) {
  constexpr std::string_view kIpv6 = "IPV6:";
  if (value.size() > kIpv6.size() && base::ascii_iequals(value.substr(0, kIpv6.size()), kIpv6)) {
    value.remove_prefix(kIpv6.size());
    if (value.find(':') == std::string_view::npos) return std::nullopt;
  }
  return base::IpAddress::parse(value);
}

std::optional<std::uint16_t> parse_port(std::string_view value) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), port);
  if (error != std::errc{} || end != value.data() + value.size()) return std::nullopt;
  return port;
}

template <class T>
std::expected<void, Error> set(std::optional<T>& out, std::optional<T> value) {
  if (out) return std::unexpected(Error::kAttribute);
  if (!value) return std::unexpected(Error::kValue);
  out = std::move(value);
  return {};
}

std::expected<void, Error> set_protocol(XclientFacts& facts, const std::string& value) {
  const bool known = base::ascii_iequals(value, "SMTP") || base::ascii_iequals(value, "ESMTP");
  return set(facts.protocol, known ? std::optional(value) : std::nullopt);
}

std::expected<void, Error> take(XclientFacts& facts, std::string_view name,
                                std::string_view encoded) {
  const bool unknown = is_unknown(encoded);
  const auto value = decode(encoded);
  if (!value) return std::unexpected(Error::kValue);
  const auto is = [name](std::string_view word) { return base::ascii_iequals(name, word); };
  if (is("NAME")) return set(facts.name, unknown ? std::optional<std::string>("") : value);
  if (is("LOGIN")) return {};  // nobody logs in here
  // Of the others, what the proxy does not know stays as it was.
  if (unknown &&
      (is("ADDR") || is("PORT") || is("HELO") || is("PROTO") || is("DESTADDR") || is("DESTPORT"))) {
    return {};
  }
  if (is("ADDR")) return set(facts.address, parse_address(*value));
  if (is("PORT")) return set(facts.port, parse_port(*value));
  if (is("HELO")) return set(facts.helo, value);
  if (is("PROTO")) return set_protocol(facts, *value);
  if (is("DESTADDR")) return set(facts.destination, parse_address(*value));
  if (is("DESTPORT")) return set(facts.destination_port, parse_port(*value));
  return std::unexpected(Error::kAttribute);
}

}  // namespace

std::expected<XclientFacts, XclientError> parse_xclient(std::string_view arguments) {
  XclientFacts facts;
  bool any = false;
  // Each round takes a word away.
  while (true) {
    arguments.remove_prefix(std::min(arguments.find_first_not_of(' '), arguments.size()));
    if (arguments.empty()) break;
    const std::string_view word = arguments.substr(0, arguments.find(' '));
    arguments.remove_prefix(word.size());
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos || equals == 0) return std::unexpected(Error::kSyntax);
    if (auto taken = take(facts, word.substr(0, equals), word.substr(equals + 1)); !taken) {
      return std::unexpected(taken.error());
    }
    any = true;
  }
  if (!any) return std::unexpected(Error::kSyntax);
  return facts;
}

}  // namespace mxring::smtp
