#include "mail/charset.h"

#include <iconv.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::mail {

namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

struct Known {
  std::string_view name;  // in mail; any case
  const char* iconv;      // null: done here
};

// These two begin with a mark that tells the byte order. It is read here: glibc's converters keep
// what they saw for every later text of the process.
constexpr char kUtf16[] = "UTF-16";
constexpr char kUtf32[] = "UTF-32";

// Names of IANA's registry that mail uses, and the aliases that are met. Where a name stands in
// practice for a superset (gb2312 for GBK, ks_c_5601-1987 for CP949), it is the superset.
constexpr Known kCharsets[] = {
    {"iso-8859-2", "ISO-8859-2"},
    {"iso-8859-3", "ISO-8859-3"},
    {"iso-8859-4", "ISO-8859-4"},
    {"iso-8859-5", "ISO-8859-5"},
    {"iso-8859-6", "ISO-8859-6"},
    {"iso-8859-7", "ISO-8859-7"},
    {"iso-8859-8", "ISO-8859-8"},
    {"iso-8859-8-i", "ISO-8859-8"},
    {"iso-8859-9", "ISO-8859-9"},
    {"iso-8859-10", "ISO-8859-10"},
    {"iso-8859-11", "ISO-8859-11"},
    {"iso-8859-13", "ISO-8859-13"},
    {"iso-8859-14", "ISO-8859-14"},
    {"iso-8859-15", "ISO-8859-15"},
    {"iso-8859-16", "ISO-8859-16"},
    {"latin2", "ISO-8859-2"},
    {"windows-1250", "CP1250"},
    {"windows-1251", "CP1251"},
    {"windows-1252", "CP1252"},
    {"windows-1253", "CP1253"},
    {"windows-1254", "CP1254"},
    {"windows-1255", "CP1255"},
    {"windows-1256", "CP1256"},
    {"windows-1257", "CP1257"},
    {"windows-1258", "CP1258"},
    {"windows-874", "CP874"},
    {"cp1250", "CP1250"},
    {"cp1251", "CP1251"},
    {"cp1252", "CP1252"},
    {"cp1257", "CP1257"},
    {"koi8-r", "KOI8-R"},
    {"koi8-u", "KOI8-U"},
    {"ibm437", "CP437"},
    {"cp437", "CP437"},
    {"ibm850", "CP850"},
    {"cp850", "CP850"},
    {"ibm852", "CP852"},
    {"cp852", "CP852"},
    {"ibm866", "CP866"},
    {"cp866", "CP866"},
    {"macintosh", "MACINTOSH"},
    {"tis-620", "TIS-620"},
    {"gb2312", "GBK"},
    {"gbk", "GBK"},
    {"x-gbk", "GBK"},
    {"cp936", "GBK"},
    {"gb18030", "GB18030"},
    {"hz-gb-2312", "HZ"},
    {"big5", "BIG5"},
    {"big5-hkscs", "BIG5-HKSCS"},
    {"euc-tw", "EUC-TW"},
    {"shift_jis", "CP932"},
    {"shift-jis", "CP932"},
    {"x-sjis", "CP932"},
    {"sjis", "CP932"},
    {"cp932", "CP932"},
    {"windows-31j", "CP932"},
    {"euc-jp", "EUC-JP"},
    {"iso-2022-jp", "ISO-2022-JP"},
    {"iso-2022-jp-2", "ISO-2022-JP-2"},
    {"iso-2022-jp-ms", "ISO-2022-JP"},
    {"euc-kr", "CP949"},
    {"ks_c_5601-1987", "CP949"},
    {"cp949", "CP949"},
    {"iso-2022-kr", "ISO-2022-KR"},
    {"utf-7", "UTF-7"},
    {"unicode-1-1-utf-7", "UTF-7"},
    {"utf-16", kUtf16},
    {"utf-16le", "UTF-16LE"},
    {"utf-16be", "UTF-16BE"},
    {"utf-32", kUtf32},
    {"utf-32le", "UTF-32LE"},
    {"utf-32be", "UTF-32BE"},
};

constexpr std::string_view kUtf8Names[] = {"utf-8", "utf8", "unicode-1-1-utf-8"};
constexpr std::string_view kAsciiNames[] = {"",     "us-ascii",  "ascii",        "ansi_x3.4-1968",
                                            "7bit", "iso646-us", "unknown-8bit", "8bit"};
constexpr std::string_view kLatin1Names[] = {"iso-8859-1", "latin1", "iso8859-1", "l1",
                                             "iso_8859-1"};

template <std::size_t N>
bool is_one_of(std::string_view name, const std::string_view (&names)[N]) {
  for (const std::string_view known : names) {
    if (base::ascii_iequals(name, known)) return true;
  }
  return false;
}

const char* iconv_name(std::string_view charset) {
  for (const Known& known : kCharsets) {
    if (base::ascii_iequals(charset, known.name)) return known.iconv;
  }
  return nullptr;
}

bool is_high(char c) {
  return (static_cast<unsigned char>(c) & 0x80U) != 0;
}

std::size_t ascii_run(std::string_view text) {
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    if ((word & 0x8080'8080'8080'8080U) != 0) break;
  }
  while (at < text.size() && !is_high(text[at])) ++at;
  return at;
}

// Could more bytes make these the beginning of a UTF-8 character?
bool may_go_on(std::string_view text) {
  if (text.size() >= 4) return false;
  const auto first = static_cast<unsigned char>(text[0]);
  const std::size_t wanted = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC2 ? 2 : 1;
  if (first > 0xF4 || text.size() >= wanted) return false;
  for (std::size_t i = 1; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) != 0x80U) return false;
  }
  return true;
}

}  // namespace

CharsetDecoder::~CharsetDecoder() {
  for (Kept& kept : kept_) {
    if (kept.descriptor != nullptr) iconv_close(kept.descriptor);
  }
}

void* CharsetDecoder::descriptor_of(const char* name) {
  Kept* oldest = &kept_[0];
  for (Kept& kept : kept_) {
    if (kept.name != nullptr && std::strcmp(kept.name, name) == 0) {
      kept.used = ++clock_;
      iconv(kept.descriptor, nullptr, nullptr, nullptr, nullptr);
      return kept.descriptor;
    }
    if (kept.used < oldest->used) oldest = &kept;
  }
  // NOLINTNEXTLINE: iconv_open's failure is (iconv_t)-1.
  iconv_t opened = iconv_open("UTF-8", name);
  if (opened == reinterpret_cast<iconv_t>(-1)) return nullptr;
  if (oldest->descriptor != nullptr) iconv_close(oldest->descriptor);
  *oldest = {name, opened, ++clock_};
  return opened;
}

bool CharsetDecoder::begin(std::string_view charset) {
  tail_bytes_ = 0;
  mark_bytes_ = 0;
  replaced_ = 0;
  guessed_ = false;
  descriptor_ = nullptr;
  how_ = How::kAscii;
  if (is_one_of(charset, kUtf8Names)) {
    how_ = How::kUtf8;
  } else if (is_one_of(charset, kLatin1Names)) {
    how_ = How::kLatin1;
  } else if (!is_one_of(charset, kAsciiNames)) {
    const char* name = iconv_name(charset);
    mark_bytes_ = name == kUtf16 ? 2 : name == kUtf32 ? 4 : 0;
    if (name == kUtf16) name = "UTF-16LE";  // without a mark
    if (name == kUtf32) name = "UTF-32LE";
    descriptor_ = name == nullptr ? nullptr : descriptor_of(name);
    if (descriptor_ == nullptr) return false;
    how_ = How::kIconv;
  }
  return true;
}

void CharsetDecoder::replace(std::string& out) {
  out += kReplacement;
  ++replaced_;
}

void CharsetDecoder::take(std::string_view piece, std::string& out) {
  switch (how_) {
    case How::kUtf8:
    case How::kAscii:
      take_utf8(piece, out, false);
      return;
    case How::kLatin1:
      while (!piece.empty()) {
        const std::size_t plain = ascii_run(piece);
        out += piece.substr(0, plain);
        piece.remove_prefix(plain);
        if (piece.empty()) return;
        const auto c = static_cast<unsigned char>(piece[0]);
        out += static_cast<char>(0xC0U | (c >> 6U));
        out += static_cast<char>(0x80U | (c & 0x3FU));
        piece.remove_prefix(1);
      }
      return;
    case How::kIconv:
      take_iconv(piece, out);
      return;
  }
}

void CharsetDecoder::end(std::string& out) {
  if (how_ == How::kIconv) {
    if (tail_bytes_ > 0) replace(out);
    iconv(descriptor_, nullptr, nullptr, nullptr, nullptr);
  } else {
    take_utf8({}, out, true);
  }
  tail_bytes_ = 0;
}

void CharsetDecoder::take_utf8(std::string_view piece, std::string& out, bool last) {
  // An unfinished character is finished byte by byte.
  while (tail_bytes_ > 0 && (last || !piece.empty())) {
    if (!piece.empty()) {
      tail_[tail_bytes_++] = piece[0];
      piece.remove_prefix(1);
    }
    std::string_view tail(tail_.data(), tail_bytes_);
    const std::size_t whole = base::utf8_sequence(tail);
    if (whole == 0 && !last && may_go_on(tail)) continue;
    const std::size_t used = whole > 0 ? whole : 1;
    if (whole > 0) {
      out += tail.substr(0, whole);
      guessed_ = guessed_ || how_ == How::kAscii;
    } else {
      replace(out);
    }
    tail_bytes_ -= used;
    std::memmove(tail_.data(), tail_.data() + used, tail_bytes_);
    // What is left may be plain text, or nothing that could go on.
    while (tail_bytes_ > 0 && !is_high(tail_[0])) {
      out += tail_[0];
      std::memmove(tail_.data(), tail_.data() + 1, --tail_bytes_);
    }
  }
  while (!piece.empty()) {
    const std::size_t plain = ascii_run(piece);
    out += piece.substr(0, plain);
    piece.remove_prefix(plain);
    if (piece.empty()) return;
    const std::size_t whole = base::utf8_sequence(piece);
    if (whole > 0) {
      out += piece.substr(0, whole);
      piece.remove_prefix(whole);
      guessed_ = guessed_ || how_ == How::kAscii;
    } else if (!last && may_go_on(piece)) {
      tail_bytes_ = piece.size();
      std::memcpy(tail_.data(), piece.data(), tail_bytes_);
      return;
    } else {
      replace(out);
      piece.remove_prefix(1);
    }
  }
}

// Converts what it can; what is left in `text` is the beginning of a character.
void CharsetDecoder::convert(std::string_view& text, std::string& out) {
  std::array<char, 4096> room;
  while (!text.empty()) {
    char* from = const_cast<char*>(text.data());  // iconv's input is not const by name only
    std::size_t left = text.size();
    char* to = room.data();
    std::size_t space = room.size();
    const std::size_t result = iconv(descriptor_, &from, &left, &to, &space);
    const int error = errno;
    out.append(room.data(), room.size() - space);
    const bool moved = left < text.size() || space < room.size();
    text.remove_prefix(text.size() - left);
    if (result != static_cast<std::size_t>(-1)) return;
    if (error == EINVAL) return;
    if (error == E2BIG && moved) continue;
    replace(out);  // no character of this charset
    if (!text.empty()) text.remove_prefix(1);
  }
}

// The first bytes of a text whose byte order is to be told; false while there are too few.
bool CharsetDecoder::take_mark(std::string_view& piece, std::string& out) {
  const std::size_t missing = std::min(piece.size(), mark_bytes_ - tail_bytes_);
  std::memcpy(tail_.data() + tail_bytes_, piece.data(), missing);
  tail_bytes_ += missing;
  piece.remove_prefix(missing);
  if (tail_bytes_ < mark_bytes_) return false;
  std::string_view tail(tail_.data(), tail_bytes_);
  const bool wide = mark_bytes_ == 4;
  mark_bytes_ = 0;
  if (tail == (wide ? std::string_view("\0\0\xFE\xFF", 4) : std::string_view("\xFE\xFF"))) {
    void* other = descriptor_of(wide ? "UTF-32BE" : "UTF-16BE");
    if (other != nullptr) descriptor_ = other;
    tail = {};
  } else if (tail == (wide ? std::string_view("\xFF\xFE\0\0", 4) : std::string_view("\xFF\xFE"))) {
    tail = {};
  } else {
    convert(tail, out);
  }
  tail_bytes_ = tail.size();
  if (tail_bytes_ > 0) std::memmove(tail_.data(), tail.data(), tail_bytes_);
  return true;
}

void CharsetDecoder::take_iconv(std::string_view piece, std::string& out) {
  MXRING_ASSERT(descriptor_ != nullptr);
  if (mark_bytes_ > 0 && (piece.empty() || !take_mark(piece, out))) return;
  while (tail_bytes_ > 0 && !piece.empty()) {
    tail_[tail_bytes_++] = piece[0];
    piece.remove_prefix(1);
    std::string_view tail(tail_.data(), tail_bytes_);
    convert(tail, out);
    if (tail.size() == kTailMax) {
      replace(out);
      tail.remove_prefix(1);
    }
    tail_bytes_ = tail.size();
    std::memmove(tail_.data(), tail.data(), tail_bytes_);
  }
  convert(piece, out);
  if (piece.size() >= kTailMax) {  // no charset has characters that long
    replace(out);
    return;
  }
  if (!piece.empty()) {
    tail_bytes_ = piece.size();
    std::memcpy(tail_.data(), piece.data(), tail_bytes_);
  }
}

}  // namespace mxring::mail
