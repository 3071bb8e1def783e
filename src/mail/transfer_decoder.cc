#include "mail/transfer_decoder.h"

#include <array>
#include <cstring>

#include "base/assert.h"
#include "base/text.h"
#include "mail/header_fields.h"

namespace mxring::mail {

namespace {

constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static_assert(kDigits.size() == 64);
constexpr std::uint32_t kNoDigit = 0x8000'0000;

// The bits of a digit where they belong in the 24 of a quad; the top bit of anything else.
struct QuadTables {
  std::array<std::array<std::uint32_t, 256>, 4> at{};
  constexpr QuadTables() {
    for (auto& table : at) table.fill(kNoDigit);
    for (std::uint32_t i = 0; i < 64; ++i) {
      const auto c = static_cast<unsigned char>(kDigits[i]);
      for (std::uint32_t place = 0; place < 4; ++place) at[place][c] = i << (18 - 6 * place);
    }
  }
};
constexpr QuadTables kQuads;

std::uint32_t quad(const char* at) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(at);
  return kQuads.at[0][bytes[0]] | kQuads.at[1][bytes[1]] | kQuads.at[2][bytes[2]] |
         kQuads.at[3][bytes[3]];
}

bool is_white(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// Gathers single bytes into pieces.
class Gather {
 public:
  explicit Gather(ByteSink& sink) : sink_(sink) {}
  // Room for `bytes` more; false when the sink has enough.
  bool room(std::size_t bytes) {
    MXRING_ASSERT(bytes <= piece_.size());
    if (used_ + bytes > piece_.size()) flush();
    return open_;
  }
  void put(char c) { piece_[used_++] = c; }
  static_assert(kDecodedPieceBytes >= 64);
  void put24(std::uint32_t bits) {
    MXRING_ASSERT(used_ + 3 <= piece_.size());
    piece_[used_] = static_cast<char>(bits >> 16);
    piece_[used_ + 1] = static_cast<char>(bits >> 8);
    piece_[used_ + 2] = static_cast<char>(bits);
    used_ += 3;
  }
  bool put_all(std::string_view text) {
    while (!text.empty()) {
      if (!room(1)) return false;
      const std::size_t bytes = std::min(text.size(), piece_.size() - used_);
      std::memcpy(piece_.data() + used_, text.data(), bytes);
      used_ += bytes;
      text.remove_prefix(bytes);
    }
    return open_;
  }
  bool flush() {
    if (used_ > 0 && open_) open_ = sink_.take({piece_.data(), used_});
    used_ = 0;
    return open_;
  }

 private:
  ByteSink& sink_;
  std::array<char, kDecodedPieceBytes> piece_;
  std::size_t used_ = 0;
  bool open_ = true;
};

bool is_base64_digit(char c) {
  return kQuads.at[0][static_cast<unsigned char>(c)] != kNoDigit;
}

DecodeNotes decode_base64_body(std::string_view body, ByteSink& sink) {
  DecodeNotes notes;
  Gather out(sink);
  std::uint32_t bits = 0;
  std::uint32_t digits = 0;  // of an unfinished quad
  std::size_t at = 0;
  bool padded = false;
  while (at < body.size()) {
    while (digits == 0 && body.size() - at >= 4) {
      const std::uint32_t whole = quad(body.data() + at);
      if ((whole & kNoDigit) != 0) break;
      if (!out.room(3)) return notes;
      out.put24(whole);
      at += 4;
    }
    if (at == body.size()) break;
    const char c = body[at++];
    const std::uint32_t value = kQuads.at[3][static_cast<unsigned char>(c)];
    if (value != kNoDigit) {
      bits = (bits << 6) | value;
      if (++digits == 4) {
        if (!out.room(3)) return notes;
        out.put24(bits);
        bits = digits = 0;
      }
    } else if (c == '=') {
      if (digits >= 2) {
        padded = true;
        break;
      }
      ++notes.foreign_bytes;
    } else if (!is_white(c)) {
      ++notes.foreign_bytes;
    }
  }
  MXRING_ASSERT(digits < 4);
  if (digits >= 2 && out.room(2)) {
    out.put(static_cast<char>(bits >> (digits == 2 ? 4 : 10)));
    if (digits == 3) out.put(static_cast<char>(bits >> 2));
  }
  notes.cut_short = digits == 1 || (digits >= 2 && !padded);
  for (; at < body.size(); ++at) notes.after_end += is_base64_digit(body[at]) ? 1 : 0;
  out.flush();
  return notes;
}

// One line without its line end. False: the sink has enough.
bool decode_quoted_line(std::string_view line, Gather& out, DecodeNotes& notes, bool& soft) {
  while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
  soft = false;
  while (!line.empty()) {
    const void* escape = std::memchr(line.data(), '=', line.size());
    const std::size_t plain =
        escape == nullptr
            ? line.size()
            : static_cast<std::size_t>(static_cast<const char*>(escape) - line.data());
    if (!out.put_all(line.substr(0, plain))) return false;
    line.remove_prefix(plain);
    if (line.empty()) return true;
    if (line.size() == 1) {
      soft = true;
      return true;
    }
    const int high = hex_digit(line[1]);
    const int low = line.size() > 2 ? hex_digit(line[2]) : -1;
    if (!out.room(1)) return false;
    if (high >= 0 && low >= 0) {
      MXRING_ASSERT(high < 16 && low < 16);
      out.put(static_cast<char>(high * 16 + low));
      line.remove_prefix(3);
    } else {
      ++notes.bad_escapes;
      out.put('=');
      line.remove_prefix(1);
    }
  }
  return true;
}

DecodeNotes decode_quoted_body(std::string_view body, ByteSink& sink) {
  DecodeNotes notes;
  Gather out(sink);
  while (!body.empty()) {
    const std::string_view line = first_line(body);
    const std::string_view content = without_line_end(line);
    bool soft = false;
    if (!decode_quoted_line(content, out, notes, soft)) return notes;
    if (!soft && !out.put_all(line.substr(content.size()))) return notes;
    body.remove_prefix(line.size());
  }
  out.flush();
  return notes;
}

std::uint32_t uu_value(char c) {
  return (static_cast<unsigned char>(c) - 32U) & 63U;
}

DecodeNotes decode_uu_body(std::string_view body, ByteSink& sink) {
  DecodeNotes notes;
  Gather out(sink);
  bool begun = false;
  notes.cut_short = true;
  while (!body.empty()) {
    const std::string_view line = first_line(body);
    const std::string_view text = without_line_end(line);
    body.remove_prefix(line.size());
    if (!begun) {
      begun = text.starts_with("begin ");
      continue;
    }
    if (text == "end") {
      notes.cut_short = false;
      notes.after_end = trimmed(body).size();
      break;
    }
    if (text.empty()) continue;
    std::size_t bytes = uu_value(text[0]);
    for (std::size_t at = 1; at < text.size() && bytes > 0; at += 4) {
      std::uint32_t bits = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        bits = (bits << 6) | (at + i < text.size() ? uu_value(text[at + i]) : 0);
      }
      if (!out.room(3)) return notes;
      for (std::uint32_t i = 0; i < 3 && bytes > 0; ++i, --bytes) {
        out.put(static_cast<char>(bits >> (16 - 8 * i)));
      }
    }
  }
  out.flush();
  return notes;
}

}  // namespace

TransferEncoding find_transfer_encoding(std::string_view field_value) {
  // Comments are allowed after the word; so is nothing else, but senders write a semicolon.
  std::string_view word = trimmed(field_value);
  word = word.substr(0, word.find_first_of(" \t\r\n;("));
  if (word.starts_with('"') && word.ends_with('"') && word.size() > 1) {
    word = word.substr(1, word.size() - 2);
  }
  constexpr struct {
    std::string_view name;
    TransferEncoding encoding;
  } kNames[] = {
      {"", TransferEncoding::kIdentity},
      {"7bit", TransferEncoding::kIdentity},
      {"8bit", TransferEncoding::kIdentity},
      {"binary", TransferEncoding::kIdentity},
      {"base64", TransferEncoding::kBase64},
      {"quoted-printable", TransferEncoding::kQuotedPrintable},
      {"x-uuencode", TransferEncoding::kUuencode},
      {"uuencode", TransferEncoding::kUuencode},
      {"x-uue", TransferEncoding::kUuencode},
      {"uue", TransferEncoding::kUuencode},
  };
  for (const auto& known : kNames) {
    if (base::ascii_iequals(known.name, word)) return known.encoding;
  }
  return TransferEncoding::kUnknown;
}

DecodeNotes decode_transfer(TransferEncoding encoding, std::string_view body, ByteSink& sink) {
  switch (encoding) {
    case TransferEncoding::kBase64:
      return decode_base64_body(body, sink);
    case TransferEncoding::kQuotedPrintable:
      return decode_quoted_body(body, sink);
    case TransferEncoding::kUuencode:
      return decode_uu_body(body, sink);
    case TransferEncoding::kIdentity:
    case TransferEncoding::kUnknown:
      break;
  }
  for (std::size_t at = 0; at < body.size(); at += kDecodedPieceBytes) {
    if (!sink.take(body.substr(at, kDecodedPieceBytes))) break;
  }
  return {};
}

}  // namespace mxring::mail
