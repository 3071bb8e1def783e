#include "decode/tls_reader.h"

#include <charconv>

#include "base/assert.h"
#include "base/text.h"
#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

constexpr std::size_t kCopyBytes = 256 * 1024;

bool is_white(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

// The text of a JSON string; its escapes are known to be good.
void unescape(std::string_view text, std::string& out) {
  out.clear();
  std::uint32_t high = 0;  // a surrogate that waits for its second half
  for (std::size_t at = 0; at < text.size(); ++at) {
    char c = text[at];
    std::uint32_t code = 0;
    if (c != '\\') {
      out += c;
      continue;
    }
    c = text[++at];
    if (c != 'u') {
      constexpr std::string_view kLetters = "bfnrt";
      constexpr std::string_view kControls = "\b\f\n\r\t";
      const std::size_t letter = kLetters.find(c);
      out += letter == std::string_view::npos ? c : kControls[letter];
      continue;
    }
    std::from_chars(text.data() + at + 1, text.data() + at + 5, code, 16);
    at += 4;
    if (code >= 0xD800 && code < 0xDC00) {
      high = code;
      continue;
    }
    if (code >= 0xDC00 && code < 0xE000) {
      code = high == 0 ? 0xFFFD : 0x10000 + ((high - 0xD800) << 10U) + (code - 0xDC00);
    }
    high = 0;
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xC0U | (code >> 6U));
      out += static_cast<char>(0x80U | (code & 0x3FU));
    } else {
      if (code < 0x10000) {
        out += static_cast<char>(0xE0U | (code >> 12U));
      } else {
        out += static_cast<char>(0xF0U | (code >> 18U));
        out += static_cast<char>(0x80U | ((code >> 12U) & 0x3FU));
      }
      out += static_cast<char>(0x80U | ((code >> 6U) & 0x3FU));
      out += static_cast<char>(0x80U | (code & 0x3FU));
    }
  }
}

// RFC 8259 6.
bool is_number(std::string_view text) {
  std::size_t at = text.starts_with('-') ? 1 : 0;
  const auto digits = [&] {
    const std::size_t from = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') ++at;
    return at - from;
  };
  const bool zero = at < text.size() && text[at] == '0';
  const std::size_t whole = digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (at < text.size() && text[at] == '.') {
    ++at;
    if (digits() == 0) return false;
  }
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) ++at;
    if (digits() == 0) return false;
  }
  return at == text.size();
}

}  // namespace

void TlsReader::skip_white(const std::string& json) {
  while (at_ < json.size() && is_white(json[at_])) ++at_;
}

// Copies the string down to where the report is written; `text` is what stands between the quotes.
bool TlsReader::take_string(std::string& json, std::string_view& text) {
  MXRING_ASSERT(json[at_] == '"' && write_ <= at_);
  const std::size_t begin = write_;
  json[write_++] = json[at_++];
  for (;;) {
    if (at_ >= json.size()) return false;
    const char c = json[at_++];
    json[write_++] = c;
    if (c == '"') break;
    if (static_cast<unsigned char>(c) < 0x20) return false;
    if (c != '\\') continue;
    if (at_ >= json.size()) return false;
    const char escape = json[at_++];
    json[write_++] = escape;
    constexpr std::string_view kEscapes = "\"\\/bfnrtu";
    if (kEscapes.find(escape) == std::string_view::npos) return false;
    for (int i = 0; escape == 'u' && i < 4; ++i) {
      constexpr std::string_view kHex = "0123456789abcdefABCDEF";
      if (at_ >= json.size() || kHex.find(json[at_]) == std::string_view::npos) return false;
      json[write_++] = json[at_++];
    }
  }
  text = std::string_view(json).substr(begin + 1, write_ - begin - 2);
  return true;
}

bool TlsReader::take_scalar(std::string& json, std::string_view& text) {
  const std::size_t begin = write_;
  while (at_ < json.size() && !is_white(json[at_]) &&
         std::string_view(",]}").find(json[at_]) == std::string_view::npos) {
    json[write_++] = json[at_++];
  }
  text = std::string_view(json).substr(begin, write_ - begin);
  return text == "true" || text == "false" || text == "null" || is_number(text);
}

bool TlsReader::open(char bracket) {
  if (depth_ >= context_->budget().json_depth) {
    too_deep_ = true;
    return false;
  }
  if (depth_ == 1 && bracket == '[' && keys_[0] == "policies") policies_ = true;
  if (depth_ == 2 && bracket == '{' && brackets_[1] == '[' && keys_[0] == "policies") {
    ++report_.policies;
  }
  if (depth_ == keys_.size()) {
    keys_.emplace_back();
    brackets_.push_back(0);
  }
  keys_[depth_].clear();
  brackets_[depth_++] = bracket;
  return true;
}

bool TlsReader::close(char bracket) {
  if (depth_ == 0 || brackets_[depth_ - 1] != (bracket == '}' ? '{' : '[')) return false;
  --depth_;
  return true;
}

void TlsReader::found(Value kind, std::string_view text) {
  const auto set = [&](OptText& into) {
    if (into || kind != Value::kString) return;
    unescape(text, scratch_);
    into = context_->keep(scratch_);
  };
  if (depth_ == 1) {
    if (in(0, "organization-name")) set(report_.organization_name);
    if (in(0, "report-id")) set(report_.report_id);
    if (in(0, "contact-info")) set(report_.contact_info);
  } else if (depth_ == 2 && in(0, "date-range")) {
    if (in(1, "start-datetime")) set(report_.start_datetime);
    if (in(1, "end-datetime")) set(report_.end_datetime);
  } else if (depth_ == 4 && in(0, "policies") && in(2, "summary")) {
    std::uint64_t count = 0;
    std::from_chars(text.data(), text.data() + text.size(), count);
    if (in(3, "total-successful-session-count")) report_.successful_sessions += count;
    if (in(3, "total-failure-session-count")) report_.failed_sessions += count;
  }
}

// What a value begins with: a bracket, a string or a word.
bool TlsReader::take_value_start(std::string& json) {
  const char c = json[at_];
  std::string_view text;
  if (c == '{' || c == '[') {
    json[write_++] = c;
    ++at_;
    return open(c);
  }
  if (c == '"') {
    if (!take_string(json, text)) return false;
    found(Value::kString, text);
    return true;
  }
  if (!take_scalar(json, text)) return false;
  found(Value::kOther, text);
  return true;
}

// One value from the start of the text, written back without white space.
bool TlsReader::walk(std::string& json) {
  enum class Expect : std::uint8_t { kValue, kValueOrEnd, kKey, kKeyOrEnd, kCommaOrEnd };
  Expect expect = Expect::kValue;
  for (;;) {
    skip_white(json);
    if (at_ >= json.size()) return false;
    const char c = json[at_];
    const std::size_t before = at_;
    if ((c == '}' || c == ']') && expect != Expect::kValue && expect != Expect::kKey) {
      json[write_++] = c;
      ++at_;
      if (!close(c)) return false;
      if (depth_ == 0) return true;
      expect = Expect::kCommaOrEnd;
    } else if (expect == Expect::kCommaOrEnd) {
      if (c != ',') return false;
      json[write_++] = c;
      ++at_;
      expect = brackets_[depth_ - 1] == '{' ? Expect::kKey : Expect::kValue;
    } else if (expect == Expect::kKey || expect == Expect::kKeyOrEnd) {
      std::string_view key;
      if (c != '"' || !take_string(json, key)) return false;
      keys_[depth_ - 1].assign(key);
      skip_white(json);
      if (at_ >= json.size() || json[at_] != ':') return false;
      json[write_++] = json[at_++];
      expect = Expect::kValue;
    } else {
      const std::size_t depth = depth_;
      if (!take_value_start(json)) return false;
      if (depth_ == 0) return true;
      expect = Expect::kCommaOrEnd;
      if (depth_ > depth) expect = c == '{' ? Expect::kKeyOrEnd : Expect::kValueOrEnd;
    }
    MXRING_ASSERT(at_ > before && write_ <= at_);
  }
}

bool TlsReader::read(Context& context, std::string& json, std::string_view where) {
  context_ = &context;
  report_ = {};
  depth_ = at_ = write_ = 0;
  policies_ = too_deep_ = false;
  if (json.starts_with("\xEF\xBB\xBF")) at_ = 3;
  if (!base::is_valid_utf8(json)) {
    context.defect(where, "its JSON has bytes that are no characters; they became U+FFFD");
    mail::CharsetDecoder& charsets = context.scratch().charsets;
    scratch_.clear();
    charsets.begin("utf-8");
    charsets.take(json, scratch_);
    charsets.end(scratch_);
    json.swap(scratch_);
  }
  if (!walk(json)) {
    if (too_deep_) context.limit("json_depth");
    context.defect(where, too_deep_ ? "its JSON is nested too deeply" : "its JSON is damaged");
    return false;
  }
  if (!policies_ || (!report_.report_id && !report_.organization_name && !report_.start_datetime &&
                     !report_.end_datetime)) {
    return false;
  }
  skip_white(json);
  if (at_ < json.size()) context.defect(where, "text after its JSON was left out");
  json.resize(write_);
  report_.json =
      json.size() < kCopyBytes ? context.keep(json) : context.out().arena.adopt(std::move(json));
  scratch_.assign(report_.organization_name.value_or(""));
  scratch_.append("!").append(report_.report_id.value_or(""));
  report_.key = context.keep(scratch_);
  if (!report_.report_id) context.defect(where, "it has no report-id");
  context.out().tls = report_;
  context.out().kind = Kind::kTlsReport;
  return true;
}

}  // namespace mxring::decode
