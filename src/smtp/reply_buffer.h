// Replies on their way out: a bounded byte buffer lent by the connection for one or more loop
// turns. The session never writes a partial reply: it stops (Event::kOutputFull) while less than
// kReplyBytesMax is free.
#pragma once

#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>

#include "base/assert.h"

namespace mxring::smtp {

// The longest reply, all lines of EHLO's included.
constexpr std::size_t kReplyBytesMax = 1024;

class ReplyBuffer {
 public:
  ReplyBuffer() = default;
  explicit ReplyBuffer(std::span<char> memory) : data_(memory.data()), capacity_(memory.size()) {}

  std::size_t free() const { return capacity_ - size_; }
  std::size_t size() const { return size_; }
  std::string_view text() const { return {data_, size_}; }

  void append(std::string_view text) {
    MXRING_ASSERT(text.size() <= free());
    std::memcpy(data_ + size_, text.data(), text.size());
    size_ += text.size();
  }

 private:
  char* data_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

}  // namespace mxring::smtp
