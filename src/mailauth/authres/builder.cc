#include "mailauth/authres/builder.h"

#include <algorithm>
#include <array>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::mailauth::authres {

namespace {

constexpr std::string_view kFieldName = "Authentication-Results: ";
constexpr std::string_view kFold = "\r\n\t";
constexpr std::size_t kTabColumns = 8;

constexpr bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// RFC 2045 5.1: a token's characters, ASCII only.
constexpr std::array<bool, 256> kTokenBytes = [] {
  std::array<bool, 256> token{};
  for (const char c : std::string_view("!#$%&'*+-.^_`{|}~"))
    token[static_cast<std::size_t>(c)] = true;
  for (std::size_t c = 0; c < 128; ++c) token[c] |= is_alphanumeric(static_cast<char>(c));
  return token;
}();
bool is_token_byte(char c) {
  return kTokenBytes[static_cast<unsigned char>(c)];
}

bool is_keyword(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return is_alphanumeric(c) || c == '-'; });
}

// Letters, digits, hyphens and underscores, with single dots between.
bool is_domain(std::string_view text) {
  if (text.empty() || text.front() == '.' || text.back() == '.' || text.contains("..")) {
    return false;
  }
  return std::ranges::all_of(
      text, [](char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

// What may stand without quotes: a token, or an address whose parts are tokens.
bool is_plain(std::string_view value) {
  const std::size_t at = value.find('@');
  if (at == std::string_view::npos) {
    return !value.empty() && std::ranges::all_of(value, is_token_byte);
  }
  return std::ranges::all_of(value.substr(0, at), is_token_byte) && is_domain(value.substr(at + 1));
}

// Appends with a backslash before each of `marks`.
void append_with_backslashes(std::string& out, std::string_view text, std::string_view marks) {
  for (const char c : text) {
    if (marks.contains(c)) out += '\\';
    out += c;
  }
}

}  // namespace

void append_clean(std::string& out, std::string_view value) {
  const std::size_t begin = out.size();
  // Four bytes at most are made of one, so a long value need not be gone through to its end.
  value = value.substr(0, kValueBytesMax + 1);
  for (;;) {
    const std::size_t end = std::min(value.find('\\'), value.size());
    base::append_escaped(out, value.substr(0, end));
    if (end == value.size()) break;
    out += '\\';  // the quoted pair keeps it what it is
    value.remove_prefix(end + 1);
  }
  if (out.size() - begin <= kValueBytesMax) return;
  std::size_t end = begin + kValueBytesMax;
  while (end > begin && (static_cast<unsigned char>(out[end]) & 0xC0) == 0x80) --end;
  out.resize(end);
  out += "...";
}

void Builder::begin(std::string_view authserv_id) {
  any_ = false;
  line_begin_ = out_.size();
  out_ += kFieldName;
  chunk_.clear();
  write_value(authserv_id);
  out_ += chunk_;
}

Builder& Builder::result(std::string_view method, std::string_view word) {
  MXRING_ASSERT(is_keyword(method) && is_keyword(word));
  out_ += ';';
  fold();
  out_ += method;
  out_ += '=';
  out_ += word;
  any_ = true;
  return *this;
}

Builder& Builder::comment(std::string_view text) {
  if (text.empty()) return *this;
  clean_.clear();
  append_clean(clean_, text);
  chunk_ = '(';
  append_with_backslashes(chunk_, clean_, "()\\");
  chunk_ += ')';
  put(chunk_);
  return *this;
}

Builder& Builder::reason(std::string_view text) {
  if (text.empty()) return *this;
  chunk_ = "reason=";
  write_value(text);
  put(chunk_);
  return *this;
}

Builder& Builder::property(std::string_view type, std::string_view name, std::string_view value) {
  MXRING_ASSERT(is_keyword(type) && is_keyword(name));
  chunk_ = type;
  chunk_ += '.';
  chunk_ += name;
  chunk_ += '=';
  write_value(value);
  put(chunk_);
  return *this;
}

void Builder::end() {
  if (!any_) out_ += "; none";
  out_ += "\r\n";
}

void Builder::put(std::string_view chunk) {
  const bool folded = out_[line_begin_] == '\t';
  const std::size_t columns = out_.size() - line_begin_ + (folded ? kTabColumns - 1 : 0);
  if (columns + 1 + chunk.size() > kColumnsMax - 1) {
    fold();
  } else {
    out_ += ' ';
  }
  out_ += chunk;
}

void Builder::fold() {
  out_ += kFold;
  line_begin_ = out_.size() - 1;
}

void Builder::write_value(std::string_view value) {
  if (value.size() <= kValueBytesMax && is_plain(value)) {
    chunk_ += value;
    return;
  }
  clean_.clear();
  append_clean(clean_, value);
  if (is_plain(clean_)) {
    chunk_ += clean_;
    return;
  }
  chunk_ += '"';
  append_with_backslashes(chunk_, clean_, "\"\\");
  chunk_ += '"';
}

}  // namespace mxring::mailauth::authres
