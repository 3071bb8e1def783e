#include "base/json.h"

#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::base {

void JsonWriter::separate() {
  if (need_comma_) out_ += ',';
  need_comma_ = true;
}

JsonWriter& JsonWriter::open(char bracket) {
  separate();
  out_ += bracket;
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  MXRING_ASSERT(!out_.empty() && out_.back() != ',' && out_.back() != ':');
  out_ += bracket;
  need_comma_ = true;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  separate();
  MXRING_ASSERT(out_.empty() || out_.back() == '{' || out_.back() == ',');  // keys are in objects
  append_string(name);
  out_ += ':';
  need_comma_ = false;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  separate();
  append_string(text);
  return *this;
}

JsonWriter& JsonWriter::value(bool truth) {
  separate();
  out_ += truth ? "true" : "false";
  return *this;
}

namespace {

template <class Number>
void append_number(std::string& out, Number number) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof buffer, number);
  out.append(buffer, result.ptr);
}

}  // namespace

JsonWriter& JsonWriter::value(double number) {
  if (!std::isfinite(number)) return null();
  separate();
  append_number(out_, number);
  return *this;
}

JsonWriter& JsonWriter::value(std::int64_t number) {
  separate();
  append_number(out_, number);
  return *this;
}

JsonWriter& JsonWriter::value(std::uint64_t number) {
  separate();
  append_number(out_, number);
  return *this;
}

JsonWriter& JsonWriter::null() {
  separate();
  out_ += "null";
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  separate();
  out_ += json;
  return *this;
}

namespace {

// ASCII that stands for itself in a JSON string.
constexpr std::array<bool, 256> kPlain = [] {
  std::array<bool, 256> plain{};
  for (std::size_t c = 0x20; c < 0x7F; ++c) plain[c] = c != '"' && c != '\\';
  return plain;
}();

// Whether the eight bytes there are all of kPlain: in each, the top bit of what is none of it is
// set.
bool all_plain(const char* bytes) {
  constexpr std::uint64_t kOnes = 0x0101010101010101;
  constexpr std::uint64_t kTops = kOnes << 7;
  std::uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  const auto has = [word](std::uint64_t c) {
    const std::uint64_t same = word ^ (kOnes * c);
    return (same - kOnes) & ~same;
  };
  // What borrows into the byte above it is found itself, so that a stretch is never taken wrongly.
  const std::uint64_t controls = (word - kOnes * 0x20) & ~word;
  return ((word | controls | has('"') | has('\\') | has(0x7F)) & kTops) == 0;
}

// One character below U+10000 as \uNNNN.
void append_unicode_escape(std::string& out, std::string_view sequence) {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(sequence[i]); };
  unsigned point = byte(0);
  if (sequence.size() == 2) point = (point & 0x1F) << 6 | (byte(1) & 0x3F);
  if (sequence.size() == 3) point = (point & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F);
  out += "\\u";
  for (const unsigned shift : {12U, 8U, 4U, 0U}) out += kHex[point >> shift & 15];
}

}  // namespace

void JsonWriter::append_string(std::string_view text) {
  out_ += '"';
  for (;;) {
    // Most text is plain, so whole stretches of it are taken at once.
    std::size_t plain = 0;
    while (text.size() - plain >= 8 && all_plain(text.data() + plain)) plain += 8;
    while (plain < text.size() && kPlain[static_cast<unsigned char>(text[plain])]) ++plain;
    out_.append(text.substr(0, plain));
    text.remove_prefix(plain);
    if (text.empty()) break;
    const std::size_t length = utf8_sequence(text);
    if (length == 0) {
      out_ += "\xEF\xBF\xBD";
      text.remove_prefix(1);
      continue;
    }
    const auto first = static_cast<unsigned char>(text[0]);
    if (first == '"' || first == '\\') {
      out_ += '\\';
      out_ += text[0];
    } else if (first < 0x20 || first == 0x7F || steers_text(text)) {
      append_unicode_escape(out_, text.substr(0, length));
    } else {
      out_.append(text.substr(0, length));
    }
    text.remove_prefix(length);
  }
  out_ += '"';
}

}  // namespace mxring::base
