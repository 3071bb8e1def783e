// Replies on their way out: a bounded byte buffer lent by the connection for one or more loop
// turns, and the one door through which a reply is said. The session never writes a partial reply:
// it stops (Event::kOutputFull) while less than kReplyBytesMax is free.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

#include "base/assert.h"
#include "smtp/reply.h"

namespace mxring::smtp {

// The longest reply, all lines of EHLO's included.
constexpr std::size_t kReplyBytesMax = 1024;
// RFC 5321 4.5.3.1.5, CRLF included: what is beyond is cut off.
constexpr std::size_t kReplyLineBytesMax = 512;

class ReplyBuffer {
 public:
  ReplyBuffer() = default;
  // `listener`, if any, hears of every reply.
  // `hears`: of every command line too.
  explicit ReplyBuffer(std::span<char> memory, ReplyListener* listener = nullptr,
                       bool hears = false)
      : data_(memory.data()),
        capacity_(memory.size()),
        listener_(listener),
        hears_(hears && listener != nullptr) {}

  std::size_t free() const { return capacity_ - size_; }
  std::size_t size() const { return size_; }
  std::string_view text() const { return {data_, size_}; }

  void hear(std::string_view line) {
    if (hears_) listener_->heard(line);
  }

  void say(const Reply& reply, Stage stage) {
    const std::string_view codes = reply.codes();
    append(codes);
    append(" ");
    append(reply.text().substr(0, kReplyLineBytesMax - codes.size() - 3));
    append("\r\n");
    tell(reply, stage);
  }
  // A reply of several lines, each complete with its code and line end.
  void say_lines(const Reply& reply, Stage stage, std::string_view lines) {
    MXRING_ASSERT(lines.ends_with("\r\n"));
    append(lines);
    tell(reply, stage);
  }

 private:
  void append(std::string_view text) {
    MXRING_ASSERT(text.size() <= free());
    std::memcpy(data_ + size_, text.data(), text.size());
    size_ += text.size();
  }
  void tell(const Reply& reply, Stage stage) {
    if (listener_ != nullptr) listener_->said(reply, stage);
  }

  char* data_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
  ReplyListener* listener_ = nullptr;
  bool hears_ = false;
};

}  // namespace mxring::smtp
