#include "mailauth/spf/macro.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

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

// What an expansion leaves: at least its last kKept bytes, on the stack, and how long it was. So a
// record of macros cannot make a string of megabytes, and nothing is allocated.
class Tail {
 public:
  static constexpr std::size_t kKept = 1024;
  static_assert(kKept >= kExplanationBytesMax && kKept >= 2 * dns::Name::kTextBytesMax);

  void push(char c) {
    if (size_ == bytes_.size()) {
      std::memmove(bytes_.data(), bytes_.data() + size_ - kKept, kKept);
      size_ = kKept;
    }
    bytes_[size_++] = c;
    ++total_;
  }
  void append(std::string_view text) {
    for (const char c : text) push(c);
  }
  std::string_view view() const& { return {bytes_.data(), size_}; }
  std::string_view view() const&& = delete;
  std::size_t total() const { return total_; }

 private:
  std::array<char, 2 * kKept> bytes_;
  std::size_t size_ = 0;
  std::size_t total_ = 0;
};

using Scratch = std::array<char, 64>;

// The client's address as %{i} writes it: dotted, for IPv6 nibble by nibble.
std::string_view dotted(const base::IpAddress& address, Scratch& scratch) {
  char* end = scratch.data();
  if (address.is_v4()) {
    for (std::size_t i = 0; i < 4; ++i) {
      if (i != 0) *end++ = '.';
      end = std::to_chars(end, scratch.data() + scratch.size(), address.bytes()[i]).ptr;
    }
  } else {
    constexpr std::string_view kHex = "0123456789abcdef";
    for (const std::uint8_t byte : address.bytes()) {
      if (end != scratch.data()) *end++ = '.';
      *end++ = kHex[byte >> 4];
      *end++ = '.';
      *end++ = kHex[byte & 15];
    }
  }
  return {scratch.data(), static_cast<std::size_t>(end - scratch.data())};
}

// A view of the values, of a constant or of `scratch`.
std::string_view value_of(char letter, const MacroValues& values, Scratch& scratch) {
  switch (letter) {
    case 's':
      return values.sender;
    case 'l':
      return values.local_part;
    case 'o':
      return values.sender_domain;
    case 'd':
      return values.domain;
    case 'i':
      return dotted(values.client, scratch);
    case 'p':
      return values.client_name;
    case 'v':
      return values.client.is_v4() ? "in-addr" : "ip6";
    case 'h':
      return values.helo;
    case 'c': {
      const std::string text = values.client.to_string();
      return {scratch.data(), text.copy(scratch.data(), scratch.size())};
    }
    case 'r':
      return values.receiver;
    default: {
      char* const begin = scratch.data();
      const char* end = std::to_chars(begin, begin + scratch.size(), values.now_unix_s).ptr;
      return {begin, static_cast<std::size_t>(end - begin)};
    }
  }
}

void append_value(Tail& out, std::string_view text, bool url_escaped) {
  if (!url_escaped) return out.append(text);
  constexpr std::string_view kHex = "0123456789ABCDEF";
  constexpr std::string_view kUnreserved = "-._~";
  for (const char c : text) {
    if (is_alpha(c) || is_digit(c) || kUnreserved.find(c) != std::string_view::npos) {
      out.push(c);
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      out.push('%');
      out.push(kHex[byte >> 4]);
      out.push(kHex[byte & 15]);
    }
  }
}

// The part at one end, removed together with the delimiter beside it.
std::string_view take_part(std::string_view& value, std::string_view delimiters, bool at_right) {
  if (at_right) {
    const std::size_t at = value.find_last_of(delimiters);
    const bool alone = at == std::string_view::npos;
    const std::string_view part = value.substr(alone ? 0 : at + 1);
    value = value.substr(0, alone ? 0 : at);
    return part;
  }
  const std::size_t at = std::min(value.find_first_of(delimiters), value.size());
  const std::string_view part = value.substr(0, at);
  value.remove_prefix(std::min(at + 1, value.size()));
  return part;
}

// Splits at the delimiters, reverses, keeps right-hand parts, joins with dots (RFC 7208 7.3).
void append_transformed(Tail& out, std::string_view value, const Token& token) {
  const std::string_view delimiters = token.delimiters.empty() ? "." : token.delimiters;
  std::size_t parts = 1;
  for (const char c : value) parts += delimiters.find(c) == std::string_view::npos ? 0 : 1;
  const std::size_t keep = token.keep == 0 ? parts : std::min(token.keep, parts);
  for (std::size_t i = keep; i < parts; ++i) take_part(value, delimiters, token.reversed);
  for (std::size_t i = 0; i < keep; ++i) {
    if (i != 0) out.push('.');
    append_value(out, take_part(value, delimiters, token.reversed), token.url_escaped);
  }
}

void append_expansion(Tail& out, const Token& token, const MacroValues& values) {
  if (token.letter == '\0') return out.append(token.text);
  Scratch scratch;
  const std::string_view value = value_of(token.letter, values, scratch);
  if (token.keep != 0 || token.reversed || !token.delimiters.empty()) {
    append_transformed(out, value, token);
  } else {
    append_value(out, value, token.url_escaped);
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

bool uses_letter(std::string_view text, char letter) {
  Token token;
  while (!text.empty()) {
    if (!take_token(text, MacroPlace::kExplanation, token)) return false;
    if (token.letter == letter) return true;
  }
  return false;
}

std::optional<dns::Name> expand_name(std::string_view spec, const MacroValues& values) {
  if (spec.find('%') == std::string_view::npos) return dns::Name::parse(spec);
  // What lies further left than a name can reach is dropped as it goes by.
  Tail out;
  Token token;
  while (!spec.empty()) {
    if (!take_token(spec, MacroPlace::kDomain, token)) return std::nullopt;
    append_expansion(out, token, values);
  }
  std::string_view text = out.view();
  if (text.ends_with('.')) text.remove_suffix(1);
  if (text.size() > dns::Name::kTextBytesMax) {
    const std::size_t dot = text.find('.', text.size() - dns::Name::kTextBytesMax - 1);
    if (dot == std::string_view::npos) return std::nullopt;
    text.remove_prefix(dot + 1);
  }
  return dns::Name::parse(text);
}

std::optional<std::string> expand_text(std::string_view text, const MacroValues& values) {
  Tail out;
  Token token;
  while (!text.empty()) {
    if (!take_token(text, MacroPlace::kExplanation, token)) return std::nullopt;
    append_expansion(out, token, values);
    if (out.total() > kExplanationBytesMax) return std::nullopt;
  }
  return std::string(out.view());
}

}  // namespace mxring::mailauth::spf
