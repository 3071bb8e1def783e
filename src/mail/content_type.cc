#include "mail/content_type.h"

#include <algorithm>

#include "base/text.h"
#include "mail/encoded_word.h"
#include "mail/header_fields.h"

namespace mxring::mail {

namespace {

bool is_white(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// tspecials that end a token; others that stand in one are taken, as in "name=report[1].pdf".
bool ends_token(char c) {
  return is_white(c) || c == ';' || c == '=' || c == '"' || c == '(';
}

void assign_lower(std::string_view text, std::string& out) {
  out.assign(text);
  std::ranges::transform(out, out.begin(), base::ascii_lower);
}

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = base::ascii_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void unescape_percent(std::string_view text, std::string& out) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '%' && at + 2 < text.size() && hex(text[at + 1]) >= 0 &&
        hex(text[at + 2]) >= 0) {
      out += static_cast<char>(hex(text[at + 1]) * 16 + hex(text[at + 2]));
      at += 2;
    } else {
      out += text[at];
    }
  }
}

}  // namespace

const std::string* MediaField::find(std::string_view name) const& {
  for (const Parameter& parameter : parameters) {
    if (parameter.name == name) return &parameter.value;
  }
  return nullptr;
}

// White space and comments, which may nest (RFC 5322 3.2.2); an open comment goes to the end.
void MediaFieldParser::skip_white() {
  std::size_t depth = 0;
  std::size_t at = 0;
  for (; at < rest_.size(); ++at) {
    const char c = rest_[at];
    if (c == '(') {
      ++depth;
    } else if (depth > 0) {
      if (c == ')') --depth;
      if (c == '\\') ++at;
    } else if (!is_white(c)) {
      break;
    }
  }
  rest_.remove_prefix(std::min(at, rest_.size()));
}

// A token or a quoted string; the result is in the field or in scratch_.
std::string_view MediaFieldParser::read_value() {
  if (!rest_.starts_with('"')) {
    std::size_t end = 0;
    while (end < rest_.size() && !is_white(rest_[end]) && rest_[end] != ';') ++end;
    // Encoded words without quotes (which RFC 2045 5.1 does not allow) may be several.
    while (rest_.starts_with("=?") && rest_.substr(0, end).ends_with("?=")) {
      const std::size_t next = rest_.find_first_not_of(" \t\r\n", end);
      if (next == std::string_view::npos || !rest_.substr(next).starts_with("=?")) break;
      end = next;
      while (end < rest_.size() && !is_white(rest_[end]) && rest_[end] != ';') ++end;
    }
    const std::string_view token = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return token;
  }
  scratch_.clear();
  std::size_t at = 1;
  for (; at < rest_.size() && rest_[at] != '"'; ++at) {
    if (rest_[at] == '\\' && at + 1 < rest_.size()) ++at;
    if (rest_[at] != '\r' && rest_[at] != '\n') scratch_ += rest_[at];
  }
  rest_.remove_prefix(std::min(at + 1, rest_.size()));
  return scratch_;
}

MediaFieldParser::Segment& MediaFieldParser::next_segment() {
  if (used_ == segments_.size()) segments_.emplace_back();
  Segment& segment = segments_[used_++];
  segment.section = 0;
  segment.sectioned = segment.extended = false;
  return segment;
}

// False when there is no parameter to read.
bool MediaFieldParser::read_parameter() {
  while (true) {
    skip_white();
    if (!rest_.starts_with(';') && !rest_.starts_with('=')) break;
    rest_.remove_prefix(1);
  }
  if (rest_.empty()) return false;
  std::size_t end = 0;
  while (end < rest_.size() && !ends_token(rest_[end])) ++end;
  std::string_view name = rest_.substr(0, end);
  rest_.remove_prefix(end);
  skip_white();
  if (name.empty()) {  // a quoted string where a name should be
    const std::size_t before = rest_.size();
    read_value();
    if (rest_.size() == before) rest_.remove_prefix(1);
    return true;
  }
  if (!rest_.starts_with('=')) return true;  // a word without a value
  rest_.remove_prefix(1);
  skip_white();
  Segment& segment = next_segment();
  segment.value.assign(read_value());
  const bool nameless =
      name.find_first_not_of("*0123456789") == std::string_view::npos && name.starts_with('*');
  if (nameless) {
    --used_;
    return true;
  }
  if (name.ends_with('*')) {
    segment.extended = true;
    name.remove_suffix(1);
  }
  const std::size_t star = name.rfind('*');
  if (star != std::string_view::npos && star + 1 < name.size() && name.size() - star <= 5) {
    const std::string_view digits = name.substr(star + 1);
    if (digits.find_first_not_of("0123456789") == std::string_view::npos) {
      segment.sectioned = true;
      for (const char c : digits) {
        segment.section = segment.section * 10 + static_cast<std::uint32_t>(c - '0');
      }
      name = name.substr(0, star);
    }
  }
  assign_lower(name, segment.name);
  return true;
}

// The value of a parameter as its sections give it (RFC 2231 3 and 4), before its charset.
MediaFieldParser::Joined MediaFieldParser::join_sections(std::string_view name) {
  // An extended value counts before a plain one of the same name, whichever comes first.
  const Segment* whole = nullptr;
  bool sections = false;
  for (std::size_t i = 0; i < used_; ++i) {
    const Segment& segment = segments_[i];
    if (segment.name != name) continue;
    sections = sections || segment.sectioned;
    if (!segment.sectioned && (whole == nullptr || (segment.extended && !whole->extended))) {
      whole = &segment;
    }
  }
  Joined joined;
  scratch_.clear();
  if (whole != nullptr && (whole->extended || !sections)) {
    add_section(*whole, true, joined);
    return joined;
  }
  for (std::uint32_t wanted = 0; wanted < used_; ++wanted) {
    const Segment* next = nullptr;
    for (std::size_t i = 0; i < used_ && next == nullptr; ++i) {
      const Segment& segment = segments_[i];
      if (segment.sectioned && segment.section == wanted && segment.name == name) next = &segment;
    }
    if (next == nullptr) break;
    add_section(*next, wanted == 0, joined);
  }
  return joined;
}

void MediaFieldParser::add_section(const Segment& segment, bool first, Joined& joined) {
  std::string_view value = segment.value;
  if (segment.extended && first) {
    joined.extended = true;
    const std::size_t quote = value.find('\'');
    const std::size_t second =
        quote == std::string_view::npos ? quote : value.find('\'', quote + 1);
    if (second != std::string_view::npos) {
      joined.charset = value.substr(0, quote);
      value.remove_prefix(second + 1);
    }
  }
  if (segment.extended) {
    unescape_percent(value, scratch_);
  } else {
    scratch_ += value;
  }
}

// Each name once, its value in UTF-8.
void MediaFieldParser::join(CharsetDecoder& charsets, MediaField& out) {
  std::size_t count = 0;
  for (std::size_t i = 0; i < used_; ++i) {
    const std::string& name = segments_[i].name;
    const auto known = [&](const Parameter& p) { return p.name == name; };
    const auto end = out.parameters.begin() + static_cast<long>(count);
    if (std::any_of(out.parameters.begin(), end, known)) continue;
    if (count == out.parameters.size()) out.parameters.emplace_back();
    Parameter& parameter = out.parameters[count++];
    parameter.name = name;
    parameter.value.clear();
    const Joined joined = join_sections(name);
    const std::string& bytes = scratch_;
    if (!joined.extended && bytes.find("=?") != std::string::npos) {
      decode_header_text(bytes, charsets, parameter.value);
      continue;
    }
    const bool named = joined.extended && !joined.charset.empty();
    if (!charsets.begin(named ? joined.charset : "utf-8")) charsets.begin("utf-8");
    charsets.take(bytes, parameter.value);
    charsets.end(parameter.value);
  }
  out.parameters.resize(count);
}

void MediaFieldParser::parse(std::string_view value, CharsetDecoder& charsets, MediaField& out) {
  out.truncated = value.size() > kParameterBytesMax;
  rest_ = value.substr(0, kParameterBytesMax);
  used_ = 0;
  skip_white();
  std::size_t end = 0;
  while (end < rest_.size() && !ends_token(rest_[end]) && rest_[end] != '/') ++end;
  assign_lower(rest_.substr(0, end), out.type);
  rest_.remove_prefix(end);
  skip_white();
  out.subtype.clear();
  if (rest_.starts_with('/')) {
    rest_.remove_prefix(1);
    skip_white();
    end = 0;
    while (end < rest_.size() && !ends_token(rest_[end])) ++end;
    assign_lower(rest_.substr(0, end), out.subtype);
    rest_.remove_prefix(end);
  }
  while (read_parameter()) {
    if (used_ < kParametersMax) continue;
    skip_white();
    out.truncated = out.truncated || !rest_.empty();
    break;
  }
  join(charsets, out);
}

}  // namespace mxring::mail
