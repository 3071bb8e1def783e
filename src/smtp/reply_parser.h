// Reads SMTP replies (RFC 5321 4.2) from bytes that arrive in any pieces.
//
// Contract: next(input) takes bytes from the front of `input`, up to and with the end of one line,
// and says what that line was: one more line of a reply, or its last. kNeedMore: all of `input` was
// taken and no line ended. kMalformed: what came is no reply; the parser must not be used again
// before reset(). Nothing is rescanned, and any split of the bytes gives the same lines. A line
// ends with LF, with or without CR before it. Of a line longer than kLineKept only the beginning is
// kept; one longer than kLineMax, or a reply of more than kLinesMax lines, is malformed.
//
// text() is a view that holds until the next call of next().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mxring::smtp {

class ReplyParser {
 public:
  enum class Result : std::uint8_t { kNeedMore, kLine, kReply, kMalformed };
  static constexpr std::size_t kLineKept = 160;
  static constexpr std::size_t kLineMax = 4096;  // the standard says 512; some servers chat
  static constexpr std::uint32_t kLinesMax = 200;

  Result next(std::string_view& input);
  void reset();

  int code() const { return code_; }
  // What stands after the code and its separator.
  std::string_view text() const { return text_; }

 private:
  Result finish(std::string_view line);

  std::array<char, kLineKept> kept_{};  // of a line that straddles two inputs
  std::size_t kept_size_ = 0;
  std::size_t line_bytes_ = 0;  // taken so far of the current line
  std::uint32_t lines_ = 0;     // of the current reply, before this one
  int code_ = 0;
  std::string_view text_;
};

}  // namespace mxring::smtp
