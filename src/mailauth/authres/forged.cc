#include "mailauth/authres/forged.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "base/text.h"

namespace mxring::mailauth::authres {

namespace {

constexpr std::size_t kNameBytesMax = 255;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool is_name_byte(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
         c == '_' || c == '.';
}

std::string_view without_last_dot(std::string_view name) {
  return name.ends_with('.') ? name.substr(0, name.size() - 1) : name;
}

// A name and perhaps a version, with nothing but white space around them, as everybody writes it.
// False when it is anything else.
bool plain_name(std::string_view part, std::string_view& name) {
  const auto skip_space = [&] {
    while (!part.empty() && is_space(part.front())) part.remove_prefix(1);
  };
  const auto take_word = [&](bool (*is_byte)(char)) {
    const std::size_t size =
        static_cast<std::size_t>(std::ranges::find_if_not(part, is_byte) - part.begin());
    const std::string_view word = part.substr(0, size);
    part.remove_prefix(size);
    return word;
  };
  skip_space();
  name = take_word(is_name_byte);
  skip_space();
  take_word([](char c) { return c >= '0' && c <= '9'; });
  skip_space();
  return !name.empty() && part.empty();
}

// Finds a name, in any case, in bytes that come one by one (Knuth, Morris, Pratt).
class NameSearch {
 public:
  explicit NameSearch(std::string_view name) : name_(name) {
    for (std::size_t i = 1, matched = 0; i < name_.size(); ++i) {
      while (matched != 0 && !same(name_[i], name_[matched])) matched = back_[matched - 1];
      if (same(name_[i], name_[matched])) ++matched;
      back_[i] = static_cast<std::uint8_t>(matched);
    }
  }

  void feed(char c) {
    if (found_) return;
    while (matched_ != 0 && !same(c, name_[matched_])) matched_ = back_[matched_ - 1];
    if (same(c, name_[matched_])) ++matched_;
    found_ = matched_ == name_.size();
  }
  bool found() const { return found_; }

 private:
  static bool same(char a, char b) { return base::ascii_lower(a) == base::ascii_lower(b); }

  std::string_view name_;
  std::array<std::uint8_t, kNameBytesMax> back_{};  // how much of the name still matches
  std::size_t matched_ = 0;
  bool found_ = false;
};

// Goes through a field that begins oddly.
bool odd_field_claims(std::string_view value, std::string_view hostname) {
  NameSearch with_comments(hostname);
  NameSearch without_comments(hostname);
  std::size_t depth = 0;
  bool in_quotes = false;
  bool in_first = true;  // in front of the first semicolon
  for (std::size_t i = 0; i < value.size(); ++i) {
    char c = value[i];
    if (is_space(c)) continue;
    if (in_first &&
        (static_cast<signed char>(c) < ' ' || c == 0x7F || value.substr(i).starts_with("=?")))
      return true;
    const bool escaped = c == '\\' && (in_quotes || depth != 0);
    if (escaped && ++i < value.size()) c = value[i];
    if (!escaped) {
      if (c == '"' && depth == 0) in_quotes = !in_quotes;
      if (c == '(' && !in_quotes) ++depth;
      if (c == ')' && !in_quotes && depth != 0) --depth;
      if (c == ';' && !in_quotes && depth == 0) in_first = false;
    }
    if (std::string_view("\"()\\").contains(c)) continue;
    with_comments.feed(c);
    if (depth == 0) without_comments.feed(c);
  }
  return in_quotes || depth != 0 || with_comments.found() || without_comments.found();
}

}  // namespace

bool claims_to_be_from(std::string_view value, std::string_view hostname) {
  hostname = without_last_dot(hostname);
  if (hostname.empty() || hostname.size() > kNameBytesMax) return false;
  std::string_view name;
  if (plain_name(value.substr(0, value.find(';')), name)) {
    return base::ascii_iequals(without_last_dot(name), hostname);
  }
  return odd_field_claims(value, hostname);
}

}  // namespace mxring::mailauth::authres
