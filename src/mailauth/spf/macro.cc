#include "mailauth/spf/macro.h"

#include <algorithm>
#include <vector>

#include "base/text.h"

namespace mxring::mailauth::spf {

namespace {

constexpr bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

constexpr bool is_alpha(char c) {
  return base::ascii_lower(c) >= 'a' && base::ascii_lower(c) <= 'z';
}

struct Token {
  char letter = '\0';        // lower case; '\0': `text` is the result
  std::string_view text;     // a run of literal text, or what %% %_ %- stand for
  bool literal = false;      // `text` stands in the record as it is
  bool url_escaped = false;  // the letter was a capital
  std::size_t keep = 0;      // right-hand parts; 0: all
  bool reversed = false;
  std::string_view delimiters;
};

// "%{...}" behind its brace, up to and with the closing one.
bool take_expansion(std::string_view& text, MacroPlace place, Token& token) {
  constexpr std::string_view kLetters = "slodiphv";
  constexpr std::string_view kExplanationLetters = "crt";
  constexpr std::string_view kDelimiters = ".-+,/_=";
  constexpr std::size_t kKeepMax = 1000;  // more parts than any value has
  if (text.empty()) return false;
  token.letter = base::ascii_lower(text[0]);
  token.url_escaped = token.letter != text[0];
  const bool known = kLetters.find(token.letter) != std::string_view::npos ||
                     (place == MacroPlace::kExplanation &&
                      kExplanationLetters.find(token.letter) != std::string_view::npos);
  if (!known || token.letter == '\0') return false;
  text.remove_prefix(1);
  const bool counted = !text.empty() && is_digit(text[0]);
  while (!text.empty() && is_digit(text[0])) {
    token.keep = std::min(token.keep * 10 + static_cast<std::size_t>(text[0] - '0'), kKeepMax);
    text.remove_prefix(1);
  }
  if (counted && token.keep == 0) return false;
  if (!text.empty() && base::ascii_lower(text[0]) == 'r') {
    token.reversed = true;
    text.remove_prefix(1);
  }
  const std::size_t end = std::min(text.find_first_not_of(kDelimiters), text.size());
  token.delimiters = text.substr(0, end);
  text.remove_prefix(end);
  if (!text.starts_with('}')) return false;
  text.remove_prefix(1);
  return true;
}

// The next token, removed from the front. False: a syntax error.
bool take_token(std::string_view& text, MacroPlace place, Token& token) {
  token = Token{};
  if (text[0] != '%') {
    const auto is_literal = [&](char c) {
      return (c > ' ' && c < 0x7F && c != '%') || (c == ' ' && place == MacroPlace::kExplanation);
    };
    const std::size_t end =
        static_cast<std::size_t>(std::ranges::find_if_not(text, is_literal) - text.begin());
    token.text = text.substr(0, end);
    token.literal = true;
    text.remove_prefix(end);
    return end != 0;
  }
  if (text.size() < 2) return false;
  const char kind = text[1];
  text.remove_prefix(2);
  switch (kind) {
    case '{':
      return take_expansion(text, place, token);
    case '%':
      token.text = "%";
      return true;
    case '_':
      token.text = " ";
      return true;
    case '-':
      token.text = "%20";
      return true;
    default:
      return false;
  }
}

// RFC 7208 7.1: letters, digits and inner hyphens, not digits only.
bool is_top_label(std::string_view label) {
  if (label.empty() || label.starts_with('-') || label.ends_with('-')) return false;
  const bool only =
      std::ranges::all_of(label, [](char c) { return is_alpha(c) || is_digit(c) || c == '-'; });
  return only && !std::ranges::all_of(label, is_digit);
}

// The client's address as %{i} writes it: dotted, for IPv6 nibble by nibble.
std::string dotted(const base::IpAddress& address) {
  if (address.is_v4()) return address.to_string();
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : address.bytes()) {
    if (!text.empty()) text += '.';
    text += {kHex[byte >> 4], '.', kHex[byte & 15]};
  }
  return text;
}

std::string value_of(char letter, const MacroValues& values) {
  switch (letter) {
    case 's':
      return std::string(values.sender);
    case 'l':
      return std::string(values.local_part);
    case 'o':
      return std::string(values.sender_domain);
    case 'd':
      return std::string(values.domain);
    case 'i':
      return dotted(values.client);
    case 'p':
      return std::string(values.client_name);
    case 'v':
      return values.client.is_v4() ? "in-addr" : "ip6";
    case 'h':
      return std::string(values.helo);
    case 'c':
      return values.client.to_string();
    case 'r':
      return std::string(values.receiver);
    default:
      return std::to_string(values.now_unix_s);
  }
}

// Splits at the delimiters, reverses, keeps right-hand parts, joins with dots (RFC 7208 7.3).
std::string transformed(std::string_view value, const Token& token) {
  const std::string_view delimiters = token.delimiters.empty() ? "." : token.delimiters;
  std::vector<std::string_view> parts;
  for (;;) {
    const std::size_t end = std::min(value.find_first_of(delimiters), value.size());
    parts.push_back(value.substr(0, end));
    if (end == value.size()) break;
    value.remove_prefix(end + 1);
  }
  if (token.reversed) std::ranges::reverse(parts);
  const std::size_t drop =
      token.keep != 0 && token.keep < parts.size() ? parts.size() - token.keep : 0;
  std::string joined;
  for (std::size_t i = drop; i < parts.size(); ++i) {
    if (i != drop) joined += '.';
    joined += parts[i];
  }
  return joined;
}

void append_url_escaped(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  constexpr std::string_view kUnreserved = "-._~";
  for (const char c : text) {
    if (is_alpha(c) || is_digit(c) || kUnreserved.find(c) != std::string_view::npos) {
      out += c;
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
}

void append_expansion(std::string& out, const Token& token, const MacroValues& values) {
  if (token.letter == '\0') {
    out += token.text;
    return;
  }
  std::string value = value_of(token.letter, values);
  if (token.keep != 0 || token.reversed || !token.delimiters.empty()) {
    value = transformed(value, token);
  }
  if (token.url_escaped) {
    append_url_escaped(out, value);
  } else {
    out += value;
  }
}

}  // namespace

bool is_macro_string(std::string_view text, MacroPlace place) {
  Token token;
  while (!text.empty()) {
    if (!take_token(text, place, token)) return false;
  }
  return true;
}

bool is_domain_spec(std::string_view text) {
  if (text.empty()) return false;
  Token token;
  while (!text.empty()) {
    if (!take_token(text, MacroPlace::kDomain, token)) return false;
  }
  if (!token.literal) return true;
  std::string_view tail = token.text;
  if (tail.ends_with('.')) tail.remove_suffix(1);
  const std::size_t dot = tail.rfind('.');
  return dot != std::string_view::npos && is_top_label(tail.substr(dot + 1));
}

bool uses_client_name(std::string_view text) {
  return text.find("%{p") != std::string_view::npos || text.find("%{P") != std::string_view::npos;
}

std::optional<dns::Name> expand_name(std::string_view spec, const MacroValues& values) {
  if (spec.find('%') == std::string_view::npos) return dns::Name::parse(spec);
  // Only the right-hand end matters: what lies further left than a name can reach is dropped as it
  // goes by, so that a record of macros cannot make a string of megabytes.
  constexpr std::size_t kKept = 2 * dns::Name::kTextBytesMax;
  std::string text;
  Token token;
  while (!spec.empty()) {
    if (!take_token(spec, MacroPlace::kDomain, token)) return std::nullopt;
    append_expansion(text, token, values);
    if (text.size() > 4 * kKept) text.erase(0, text.size() - kKept);
  }
  if (text.ends_with('.')) text.pop_back();
  if (text.size() > dns::Name::kTextBytesMax) {
    const std::size_t dot = text.find('.', text.size() - dns::Name::kTextBytesMax - 1);
    if (dot == std::string::npos) return std::nullopt;
    text.erase(0, dot + 1);
  }
  return dns::Name::parse(text);
}

std::optional<std::string> expand_text(std::string_view text, const MacroValues& values) {
  std::string out;
  Token token;
  while (!text.empty()) {
    if (!take_token(text, MacroPlace::kExplanation, token)) return std::nullopt;
    append_expansion(out, token, values);
    if (out.size() > kExplanationBytesMax) return std::nullopt;
  }
  return out;
}

}  // namespace mxring::mailauth::spf
