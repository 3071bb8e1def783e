#include "smtp/path.h"

#include <array>

#include "base/ip_address.h"
#include "base/text.h"

namespace mxring::smtp {

namespace {

enum CharClass : std::uint8_t {
  kAtext = 1,     // RFC 5322 3.2.3
  kLetDig = 2,    // RFC 5321 4.1.2
  kQtext = 4,     // qtextSMTP
  kDcontent = 8,  // RFC 5321 4.1.3
};

constexpr std::array<std::uint8_t, 256> make_classes() {
  std::array<std::uint8_t, 256> classes{};
  const auto is_alnum = [](unsigned c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
  };
  constexpr std::string_view kAtextMarks = "!#$%&'*+-/=?^_`{|}~";
  for (unsigned c = 0x20; c < 0x7F; ++c) {
    std::uint8_t bits = 0;
    if (is_alnum(c)) bits |= kLetDig;
    if (is_alnum(c) || kAtextMarks.find(static_cast<char>(c)) != std::string_view::npos) {
      bits |= kAtext;
    }
    if (c != '"' && c != '\\') bits |= kQtext;
    if (c > ' ' && c != '[' && c != '\\' && c != ']') bits |= kDcontent;
    classes[c] = bits;
  }
  return classes;
}
constexpr std::array<std::uint8_t, 256> kClasses = make_classes();

bool is(char c, CharClass wanted) {
  return (kClasses[static_cast<std::uint8_t>(c)] & wanted) != 0;
}
bool is_high(char c) {
  return static_cast<std::uint8_t>(c) >= 0x80;
}

// Bytes of one character of class `wanted` at the start of `text`, UTF-8 included; 0 = none.
std::size_t character(std::string_view text, CharClass wanted, bool& utf8) {
  if (text.empty()) return 0;
  if (!is_high(text[0])) return is(text[0], wanted) ? 1 : 0;
  const std::size_t bytes = base::utf8_sequence(text);
  if (bytes != 0) utf8 = true;
  return bytes;
}

// Bytes of a quoted string at the start of `text` (which has its opening quote); 0 = malformed.
std::size_t quoted_string(std::string_view text, bool& utf8) {
  std::size_t at = 1;
  while (at < text.size() && text[at] != '"') {
    if (text[at] == '\\') {
      if (at + 1 >= text.size() || text[at + 1] < ' ' || text[at + 1] > '~') return 0;
      at += 2;
      continue;
    }
    const std::size_t bytes = character(text.substr(at), kQtext, utf8);
    if (bytes == 0) return 0;
    at += bytes;
  }
  return at < text.size() ? at + 1 : 0;
}

// Bytes of a dot-string: atoms with single dots between them, or dots anywhere; 0 = none.
std::size_t dot_string(std::string_view text, bool any_dots, bool& utf8) {
  std::size_t at = 0;
  for (;;) {
    const std::size_t atom = at;
    for (;;) {
      while (at < text.size() && is(text[at], kAtext)) ++at;
      const std::size_t bytes = character(text.substr(at), kAtext, utf8);
      if (bytes == 0) break;
      at += bytes;
    }
    if (at == atom && !any_dots) return 0;
    if (at >= text.size() || text[at] != '.') return at;
    ++at;
  }
}

std::size_t local_part(std::string_view text, const Leniency& leniency, bool& utf8) {
  return text.starts_with('"') ? quoted_string(text, utf8)
                               : dot_string(text, leniency.dots_in_local_part, utf8);
}

// Where a domain or literal at the start of `text` ends, judged by its delimiter only.
std::size_t domain_extent(std::string_view text, std::string_view delimiters) {
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    return end == std::string_view::npos ? 0 : end + 1;
  }
  const std::size_t end = text.find_first_of(delimiters);
  return end == std::string_view::npos ? text.size() : end;
}

// "@one,@two:" at the start of `text` is checked and removed (RFC 5321 4.1.1.3, appendix C).
bool drop_source_route(std::string_view& text, bool& utf8) {
  while (text.starts_with('@')) {
    text.remove_prefix(1);
    const std::size_t end = domain_extent(text, ",:>");
    const std::string_view domain = text.substr(0, end);
    if (!is_domain(domain, &utf8) && !is_address_literal(domain)) return false;
    text.remove_prefix(end);
    if (text.starts_with(':')) {
      text.remove_prefix(1);
      return true;
    }
    if (!text.starts_with(",@")) return false;
    text.remove_prefix(1);
  }
  return true;
}

// A mailbox at the start of `text`; empty on an error.
std::string_view take_mailbox(std::string_view& text, std::string_view delimiters,
                              const Leniency& leniency, bool& utf8, PathError& error) {
  error = PathError::kSyntax;
  const std::size_t local = local_part(text, leniency, utf8);
  if (local == 0 || local >= text.size() || text[local] != '@') return {};
  const std::string_view rest = text.substr(local + 1);
  const std::size_t extent = domain_extent(rest, delimiters);
  std::string_view domain = rest.substr(0, extent);
  if (leniency.trailing_dot && domain.ends_with('.')) domain.remove_suffix(1);
  if (local > kLocalPartBytesMax || domain.size() > kDomainBytesMax) {
    error = PathError::kTooLong;
    return {};
  }
  if (!is_domain(domain, &utf8) && !is_address_literal(domain)) return {};
  const std::string_view mailbox = text.substr(0, local + 1 + domain.size());
  text.remove_prefix(local + 1 + extent);
  return mailbox;
}

// "postmaster" without a domain, in any case, before one of `delimiters` or the end.
std::string_view take_postmaster(std::string_view& text, std::string_view delimiters) {
  constexpr std::string_view kPostmaster = "postmaster";
  if (!base::ascii_iequals(text.substr(0, kPostmaster.size()), kPostmaster)) return {};
  const std::string_view rest = text.substr(kPostmaster.size());
  if (!rest.empty() && delimiters.find(rest[0]) == std::string_view::npos) return {};
  const std::string_view name = text.substr(0, kPostmaster.size());
  text = rest;
  return name;
}

void skip_spaces(std::string_view& text, const Leniency& leniency) {
  if (!leniency.spaces_in_paths) return;
  while (text.starts_with(' ')) text.remove_prefix(1);
}

// What stands where a mailbox is expected, up to one of `delimiters`.
std::optional<Path> parse_inner_path(std::string_view& text, std::string_view delimiters,
                                     PathKind kind, const Leniency& leniency, PathError& error) {
  Path path;
  if (kind == PathKind::kForward) path.mailbox = take_postmaster(text, delimiters);
  if (path.mailbox.empty()) {
    path.mailbox = take_mailbox(text, delimiters, leniency, path.utf8, error);
  }
  if (path.mailbox.empty()) return std::nullopt;
  return path;
}

}  // namespace

std::optional<Path> parse_path(std::string_view& text, PathKind kind, const Leniency& leniency,
                               PathError& error) {
  error = PathError::kSyntax;
  std::string_view rest = text;
  skip_spaces(rest, leniency);
  std::optional<Path> path;
  if (!rest.starts_with('<')) {
    if (!leniency.bare_paths) return std::nullopt;
    path = parse_inner_path(rest, " ", kind, leniency, error);
    if (path) text = rest;
    return path;
  }
  rest.remove_prefix(1);
  skip_spaces(rest, leniency);
  if (kind == PathKind::kReverse && rest.starts_with('>')) {
    text = rest.substr(1);
    return Path{};
  }
  bool route_utf8 = false;
  if (!drop_source_route(rest, route_utf8)) return std::nullopt;
  skip_spaces(rest, leniency);
  path = parse_inner_path(rest, leniency.spaces_in_paths ? "> " : ">", kind, leniency, error);
  if (!path) return std::nullopt;
  path->utf8 |= route_utf8;
  skip_spaces(rest, leniency);
  if (!rest.starts_with('>')) {
    error = PathError::kSyntax;
    return std::nullopt;
  }
  text = rest.substr(1);
  return path;
}

bool is_domain(std::string_view text, bool* utf8) {
  if (text.empty() || text.size() > kDomainBytesMax) return false;
  bool high = false;
  std::size_t label = 0;
  char previous = '.';
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '.') {
      if (previous == '.' || previous == '-') return false;
      label = 0;
      previous = c;
      ++at;
      continue;
    }
    std::size_t bytes = 1;
    if (is_high(c)) {
      bytes = utf8 != nullptr ? base::utf8_sequence(text.substr(at)) : 0;
      if (bytes == 0) return false;
      high = true;
    } else if (c == '-') {
      if (previous == '.') return false;
    } else if (!is(c, kLetDig) && !(kUnderscoreInDomain && c == '_')) {
      return false;
    }
    label += bytes;
    // A U-label's length in the DNS is that of its A-label, which is not known here.
    if (label > kLabelBytesMax && !high) return false;
    previous = c;
    at += bytes;
  }
  if (previous == '.' || previous == '-') return false;
  if (high) *utf8 = true;
  return true;
}

bool is_address_literal(std::string_view text) {
  if (text.size() < 3 || text.size() > kDomainBytesMax) return false;
  if (!text.starts_with('[') || !text.ends_with(']')) return false;
  const std::string_view inside = text.substr(1, text.size() - 2);
  const std::size_t colon = inside.find(':');
  if (colon == std::string_view::npos) return base::IpAddress::parse(inside).has_value();
  const std::string_view tag = inside.substr(0, colon);
  const std::string_view value = inside.substr(colon + 1);
  if (base::ascii_iequals(tag, "IPv6")) {
    return value.find(':') != std::string_view::npos && base::IpAddress::parse(value).has_value();
  }
  // Standardized-tag = Ldh-str: ends in a letter or digit.
  if (tag.empty() || !is(tag.back(), kLetDig) || value.empty()) return false;
  for (const char c : tag) {
    if (!is(c, kLetDig) && c != '-') return false;
  }
  for (const char c : value) {
    if (!is(c, kDcontent)) return false;
  }
  return true;
}

bool is_hello_name(std::string_view text, const Leniency& leniency) {
  if (leniency.any_hello_name) return !text.empty() && text.size() <= kDomainBytesMax;
  if (text.starts_with('[')) {
    if (is_address_literal(text)) return true;
    return kUntaggedIpv6InHello && text.ends_with(']') && text.size() > 2 &&
           base::IpAddress::parse(text.substr(1, text.size() - 2)).has_value();
  }
  if (kTrailingDotInHello && text.ends_with('.')) text.remove_suffix(1);
  return is_domain(text);
}

}  // namespace mxring::smtp
