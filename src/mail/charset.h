// Text in the charsets that mail is written in, made UTF-8 piece by piece. What stands for nothing
// becomes U+FFFD and is counted. UTF-8, US-ASCII and ISO-8859-1 are done here; the others by
// glibc's iconv, from a fixed list, because a name from the network shall not choose what is
// loaded.
//
// A text said to be US-ASCII that has bytes above 127 is read as UTF-8 (RFC 6532 knows no other way
// to write them), and guessed_utf8() says that it was.
//
// Thread: one. The descriptors of the last few charsets stay open, so that nothing is allocated
// once they have been met.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::mail {

class CharsetDecoder {
 public:
  CharsetDecoder() = default;
  CharsetDecoder(const CharsetDecoder&) = delete;
  CharsetDecoder& operator=(const CharsetDecoder&) = delete;
  ~CharsetDecoder();

  // Begins a text. False when the charset is not known: the text is then read as US-ASCII.
  bool begin(std::string_view charset);
  // Appends the text so far; a character that is cut by the end of the piece waits for the next.
  void take(std::string_view piece, std::string& out);
  void end(std::string& out);

  std::uint64_t replaced() const { return replaced_; }  // of this text
  bool guessed_utf8() const { return guessed_; }

 private:
  enum class How : std::uint8_t { kUtf8, kAscii, kLatin1, kIconv };
  struct Kept {
    const char* name = nullptr;  // of our list
    void* descriptor = nullptr;
    std::uint64_t used = 0;
  };
  static constexpr std::size_t kKept = 8;
  static constexpr std::size_t kTailMax = 16;

  void* descriptor_of(const char* name);
  void take_utf8(std::string_view piece, std::string& out, bool last);
  void take_iconv(std::string_view piece, std::string& out);
  bool take_mark(std::string_view& piece, std::string& out);
  void convert(std::string_view& text, std::string& out);
  void replace(std::string& out);

  How how_ = How::kAscii;
  void* descriptor_ = nullptr;
  std::array<char, kTailMax> tail_{};  // an unfinished character
  std::size_t tail_bytes_ = 0;
  std::size_t mark_bytes_ = 0;  // of a byte order mark that is still to come
  std::uint64_t replaced_ = 0;
  bool guessed_ = false;
  std::array<Kept, kKept> kept_{};
  std::uint64_t clock_ = 0;
};

}  // namespace mxring::mail
