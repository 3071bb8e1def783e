#include "mail/encoded_word.h"

#include "base/text.h"
#include "mail/header_fields.h"
#include "mail/transfer_decoder.h"

namespace mxring::mail {

namespace {

constexpr std::size_t kCharsetBytesMax = 64;

struct Word {
  std::string_view charset;
  bool base64 = false;
  std::string_view text;
  std::size_t bytes = 0;  // of the whole word; 0 = there is none
};

// The encoded word at the start of `text`, which begins with "=?".
Word word_at(std::string_view text) {
  Word word;
  const std::size_t charset_end = text.substr(0, kCharsetBytesMax + 3).find('?', 2);
  if (charset_end == std::string_view::npos || charset_end + 3 >= text.size()) return {};
  word.charset = text.substr(2, charset_end - 2);
  if (word.charset.find_first_of(" \t\r\n") != std::string_view::npos) return {};
  word.charset = word.charset.substr(0, word.charset.find('*'));  // RFC 2231 5: a language
  const char encoding = base::ascii_lower(text[charset_end + 1]);
  if ((encoding != 'b' && encoding != 'q') || text[charset_end + 2] != '?') return {};
  word.base64 = encoding == 'b';
  const std::size_t begin = charset_end + 3;
  const std::size_t end = text.find('?', begin);
  if (end == std::string_view::npos || end + 1 >= text.size() || text[end + 1] != '=') return {};
  word.text = text.substr(begin, end - begin);
  word.bytes = end + 2;
  return word;
}

// Bytes of a word on their way through its charset.
class WordSink final : public ByteSink {
 public:
  WordSink(CharsetDecoder& charsets, std::string& out) : charsets_(charsets), out_(out) {}
  bool take(std::string_view bytes) override {
    charsets_.take(bytes, out_);
    return true;
  }

 private:
  CharsetDecoder& charsets_;
  std::string& out_;
};

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = base::ascii_lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void decode_q(std::string_view text, ByteSink& sink) {
  for (std::size_t at = 0; at < text.size(); ++at) {
    char c = text[at] == '_' ? ' ' : text[at];
    if (c == '=' && at + 2 < text.size() && hex(text[at + 1]) >= 0 && hex(text[at + 2]) >= 0) {
      c = static_cast<char>(hex(text[at + 1]) * 16 + hex(text[at + 2]));
      at += 2;
    }
    if (c != '\r' && c != '\n') sink.take({&c, 1});
  }
}

bool is_white(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

class HeaderText {
 public:
  HeaderText(CharsetDecoder& charsets, std::string& out) : charsets_(charsets), out_(out) {}

  HeaderTextNotes decode(std::string_view value) {
    std::string_view rest = trimmed(value);
    std::size_t plain = 0;  // bytes of rest that are no encoded word
    while (plain < rest.size()) {
      const std::size_t begin = rest.find("=?", plain);
      if (begin == std::string_view::npos) break;
      const Word word = word_at(rest.substr(begin));
      if (word.bytes == 0) {
        plain = begin + 2;
        continue;
      }
      const std::string_view before = rest.substr(0, begin);
      if (!in_word_ || !is_white(before)) take_plain(before);
      take_word(word, rest.substr(begin, word.bytes));
      rest.remove_prefix(begin + word.bytes);
      plain = 0;
    }
    take_plain(rest);
    end_word();
    return notes_;
  }

 private:
  void take_word(const Word& word, std::string_view whole) {
    if (!in_word_ || !base::ascii_iequals(charset_, word.charset)) {
      end_word();
      if (!charsets_.begin(word.charset)) {
        notes_.unknown_charset = true;
        take_plain(whole);
        return;
      }
      in_word_ = true;
      charset_ = word.charset;
    }
    WordSink sink(charsets_, out_);
    if (word.base64) {
      decode_transfer(TransferEncoding::kBase64, word.text, sink);
    } else {
      decode_q(word.text, sink);
    }
  }

  void end_word() {
    if (!in_word_) return;
    charsets_.end(out_);
    notes_.replaced += charsets_.replaced();
    in_word_ = false;
  }

  // Unfolds: a line end goes, the white space after it stays (RFC 5322 2.2.3).
  void take_plain(std::string_view text) {
    if (text.empty()) return;
    end_word();
    charsets_.begin("utf-8");
    while (!text.empty()) {
      const std::size_t end = text.find_first_of("\r\n");
      charsets_.take(text.substr(0, end), out_);
      if (end == std::string_view::npos) break;
      text.remove_prefix(end + 1);
    }
    charsets_.end(out_);
    notes_.replaced += charsets_.replaced();
  }

  CharsetDecoder& charsets_;
  std::string& out_;
  std::string_view charset_;
  bool in_word_ = false;
  HeaderTextNotes notes_;
};

}  // namespace

HeaderTextNotes decode_header_text(std::string_view value, CharsetDecoder& charsets,
                                   std::string& out) {
  return HeaderText(charsets, out).decode(value);
}

}  // namespace mxring::mail
