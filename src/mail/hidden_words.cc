#include "mail/hidden_words.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::mail {

namespace {

constexpr std::size_t kCharsetBytesMax = 64;

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = base::ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

int base64_value(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  return c == '/' || c == '_' ? 63 : -1;
}

struct Word {
  std::string_view charset;
  bool base64 = false;
  std::string_view text;  // encoded
  std::size_t bytes = 0;  // of all of it
};

// The encoded word at the start of `text`.
std::optional<Word> word_at(std::string_view text) {
  if (!text.starts_with("=?")) return std::nullopt;
  const std::size_t charset_end = text.substr(0, kCharsetBytesMax).find('?', 2);
  if (charset_end == std::string_view::npos || charset_end + 2 >= text.size() ||
      text[charset_end + 2] != '?') {
    return std::nullopt;
  }
  const char encoding = base::ascii_lower(text[charset_end + 1]);
  if (encoding != 'q' && encoding != 'b') return std::nullopt;
  const std::size_t begin = charset_end + 3;
  // In q, "=?" cannot be part of the text, but "?=" may follow a question mark at once.
  const std::size_t end = std::min(text.find("?=", begin), text.size());
  return Word{.charset = text.substr(2, charset_end - 2),
              .base64 = encoding == 'b',
              .text = text.substr(begin, end - begin),
              .bytes = std::min(end + 2, text.size())};
}

void decode_q(std::string_view text, std::string& out) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    const int high = c == '=' && at + 2 < text.size() ? hex_value(text[at + 1]) : -1;
    const int low = high >= 0 ? hex_value(text[at + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high * 16 + low);
      at += 2;
    } else {
      out += c == '_' ? ' ' : c;
    }
  }
}

void decode_b(std::string_view text, std::string& out) {
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const int value = base64_value(c);
    if (value < 0) continue;
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 0xFF);
  }
}

// A full-width @ in charsets that have one of their own; "" for all others.
std::string_view wide_at_sign(std::string_view charset) {
  struct Row {
    std::string_view charset;
    std::string_view bytes;
  };
  static constexpr std::array<Row, 10> kRows{{{"iso-2022-jp", "!w"},
                                              {"iso-2022-kr", "#@"},
                                              {"shift_jis", "\x81\x97"},
                                              {"windows-31j", "\x81\x97"},
                                              {"cp932", "\x81\x97"},
                                              {"euc-jp", "\xA1\xF7"},
                                              {"euc-kr", "\xA3\xC0"},
                                              {"gb", "\xA3\xC0"},
                                              {"big5", "\xA2\x49"},
                                              {"ks_c_5601", "\xA3\xC0"}}};
  for (const Row& row : kRows) {
    if (charset.size() >= row.charset.size() &&
        base::ascii_iequals(charset.substr(0, row.charset.size()), row.charset)) {
      return row.bytes;
    }
  }
  return {};
}

// Charsets in which ASCII's bytes are not ASCII, or stand for other characters.
bool hides_ascii(std::string_view charset) {
  for (const std::string_view known : {"utf-7", "utf7", "unicode-1-1-utf-7", "ibm037", "ibm500",
                                       "ibm1047", "cp037", "cp500", "ebcdic"}) {
    if (charset.size() >= known.size() &&
        base::ascii_iequals(charset.substr(0, known.size()), known)) {
      return true;
    }
  }
  return false;
}

bool has_plain_at_sign(std::string_view text) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (at_sign(text.substr(at)) != 0) return true;
  }
  return false;
}

// What only the charset of a word tells.
bool words_hide_at_sign(std::string_view text, std::string& scratch) {
  for (std::size_t at = text.find("=?"); at != std::string_view::npos; at = text.find("=?", at)) {
    const auto word = word_at(text.substr(at));
    if (!word) {
      at += 2;
      continue;
    }
    if (hides_ascii(word->charset)) return true;
    if (const std::string_view wide = wide_at_sign(word->charset); !wide.empty()) {
      scratch.clear();
      word->base64 ? decode_b(word->text, scratch) : decode_q(word->text, scratch);
      if (scratch.find(wide) != std::string::npos) return true;
    }
    MXRING_ASSERT(word->bytes >= 2);
    at += word->bytes;
  }
  return false;
}

}  // namespace

std::size_t at_sign(std::string_view text) {
  if (text.starts_with('@')) return 1;
  return text.starts_with("\xEF\xBC\xA0") || text.starts_with("\xEF\xB9\xAB") ? 3 : 0;
}

bool has_encoded_word(std::string_view text) {
  for (std::size_t at = text.find("=?"); at != std::string_view::npos;
       at = text.find("=?", at + 2)) {
    if (word_at(text.substr(at))) return true;
  }
  return false;
}

void decode_words(std::string_view text, BetweenWords between, std::string& out) {
  out.clear();
  std::size_t after_word = std::string::npos;  // in `out`, with nothing but white space since
  while (!text.empty()) {
    const auto word = text[0] == '=' ? word_at(text) : std::nullopt;
    if (!word) {
      if (!is_space(text[0])) after_word = std::string::npos;
      out += text[0];
      text.remove_prefix(1);
      continue;
    }
    if (after_word != std::string::npos && between == BetweenWords::kDropped) {
      out.resize(after_word);
    }
    word->base64 ? decode_b(word->text, out) : decode_q(word->text, out);
    after_word = out.size();
    text.remove_prefix(word->bytes);
  }
}

bool may_have_at_sign(std::string_view text, std::string& scratch, std::string& more_scratch) {
  if (has_plain_at_sign(text)) return true;
  if (!has_encoded_word(text)) return false;
  if (words_hide_at_sign(text, scratch)) return true;
  decode_words(text, BetweenWords::kDropped, scratch);
  if (has_plain_at_sign(scratch)) return true;
  if (!has_encoded_word(scratch)) return false;
  if (words_hide_at_sign(scratch, more_scratch)) return true;
  decode_words(scratch, BetweenWords::kDropped, more_scratch);
  return has_plain_at_sign(more_scratch);
}

}  // namespace mxring::mail
