// Memory for a result that is made of many small texts and lists: everything in it lives as long as
// the arena and goes at once. clear() keeps the blocks, so that the next result of the same size
// allocates nothing.
//
// Thread: one. Views into an arena stay valid when it is moved, and end with clear().
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace mxring::base {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  Arena(Arena&&) = default;
  Arena& operator=(Arena&&) = default;

  std::string_view copy(std::string_view text) {
    if (text.empty()) return {"", 0};
    char* at = take(text.size(), 1);
    std::memcpy(at, text.data(), text.size());
    return {at, text.size()};
  }

  template <class T>
  std::span<const T> copy(std::span<const T> items) {
    static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);
    if (items.empty()) return {};
    char* at = take(items.size_bytes(), alignof(T));
    std::memcpy(static_cast<void*>(at), items.data(), items.size_bytes());
    return {reinterpret_cast<const T*>(at), items.size()};
  }
  template <class T>
  std::span<const T> copy(const std::vector<T>& items) {
    return copy(std::span<const T>(items));
  }

  // A large text without a copy; it does not count as memory kept.
  std::string_view adopt(std::string&& text) {
    adopted_.push_back(std::make_unique<std::string>(std::move(text)));
    return *adopted_.back();
  }

  void clear() {
    block_ = 0;
    used_ = 0;
    adopted_.clear();
  }

  std::size_t bytes() const {  // that it holds on to
    std::size_t sum = 0;
    for (const Block& block : blocks_) sum += block.bytes;
    return sum;
  }

 private:
  static constexpr std::size_t kBlockBytes = 8 * 1024;
  static constexpr std::size_t kBlockBytesMax = 256 * 1024;

  struct Block {
    std::unique_ptr<char[]> memory;
    std::size_t bytes = 0;
  };

  char* take(std::size_t bytes, std::size_t alignment) {
    for (; block_ < blocks_.size(); ++block_, used_ = 0) {
      const std::size_t begin = (used_ + alignment - 1) / alignment * alignment;
      if (begin <= blocks_[block_].bytes && bytes <= blocks_[block_].bytes - begin) {
        used_ = begin + bytes;
        return blocks_[block_].memory.get() + begin;
      }
    }
    std::size_t size = kBlockBytes;
    if (!blocks_.empty()) size = std::min(blocks_.back().bytes * 2, kBlockBytesMax);
    size = std::max(size, bytes);
    blocks_.push_back({std::make_unique_for_overwrite<char[]>(size), size});
    MXRING_ASSERT(block_ + 1 == blocks_.size());
    used_ = bytes;
    return blocks_.back().memory.get();
  }

  std::vector<Block> blocks_;
  std::vector<std::unique_ptr<std::string>> adopted_;
  std::size_t block_ = 0;  // the one in use
  std::size_t used_ = 0;   // bytes of it
};

}  // namespace mxring::base
