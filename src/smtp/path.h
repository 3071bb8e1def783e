// Paths, mailboxes and domains as SMTP writes them (RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3 for UTF-8).
// Pure functions over one line, in place; linear; nothing is allocated. The result views the
// argument.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mxring::smtp {

// In octets. RFC 5321 4.5.3.1 asks for 64 in a local part and 256 in a path at least, and for no
// limit where that can be had: addresses that carry another one within them (VERP, SRS, BATV) need
// more. This is as much as one of its command lines can hold.
constexpr std::size_t kLocalPartBytesMax = 512;
constexpr std::size_t kDomainBytesMax = 255;
// With its angle brackets, without a source route.
constexpr std::size_t kPathBytesMax = kLocalPartBytesMax + 1 + kDomainBytesMax + 2;
constexpr std::size_t kLabelBytesMax = 63;  // RFC 1035 2.3.4

// Host names with an underscore are not RFC 5321 domains, but many Windows hosts have them.
constexpr bool kUnderscoreInDomain = true;
// "EHLO host.example." is seen, and names the same host.
constexpr bool kTrailingDotInHello = true;
// "EHLO [::1]" for "[IPv6:::1]": sent by several client libraries.
constexpr bool kUntaggedIpv6InHello = true;

// Departures from the syntax that a site may allow ([syntax] in the configuration); by default
// those that leave no doubt about what is meant.
struct Leniency {
  bool spaces_in_paths = true;     // "MAIL FROM : < a@example.org >", tabs too
  bool bare_paths = true;          // "MAIL FROM:a@example.org"
  bool dots_in_local_part = true;  // a..b@, .a@, a.@
  bool any_hello_name = true;      // any printable argument of EHLO and HELO
  bool auth_parameter = true;      // AUTH= at MAIL is ignored
  bool xtext_lower_case = true;    // lower-case hexadecimal in ORCPT and ENVID
  bool trailing_dot = true;        // a@example.org.
  bool hello_optional = false;     // MAIL without EHLO or HELO
};
constexpr Leniency kStrict{false, false, false, false, false, false, false, false};

enum class PathError : std::uint8_t {
  kSyntax,
  kTooLong,  // a part over one of the lengths above
};

struct Path {
  // local-part@domain, a trailing dot dropped; empty = null path; "postmaster" without a domain
  std::string_view mailbox;
  bool utf8 = false;  // has bytes above 127 (valid UTF-8): needs SMTPUTF8
};

enum class PathKind : std::uint8_t { kReverse, kForward };  // "<>" or "<postmaster>" allowed

// Parses a path at the start of `text` and removes it. What follows is the caller's to judge. On
// an error `text` is unchanged. `error` is set when nothing is returned.
std::optional<Path> parse_path(std::string_view& text, PathKind kind, const Leniency& leniency,
                               PathError& error);

// The whole of `text` is a domain (sub-domains of letters, digits, hyphens, UTF-8 if `utf8` is not
// null, which is then set when there was some).
bool is_domain(std::string_view text, bool* utf8 = nullptr);
// "[192.0.2.1]", "[IPv6:2001:db8::1]", "[tag:anything]".
bool is_address_literal(std::string_view text);
// What may follow EHLO or HELO, with the tolerances above. With any_hello_name whatever is no
// longer than a domain; control bytes have been refused before.
bool is_hello_name(std::string_view text, const Leniency& leniency);

}  // namespace mxring::smtp
