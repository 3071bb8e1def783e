// Blocks for replies on their way out. A connection holds one only while it has something to send,
// so ten thousand idle connections hold none. Last in, first out: warm blocks are reused first.
// Thread: the shard's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace mxring::net {

struct OutputBlock {
  static constexpr std::uint32_t kBytes = 4096 - 2 * sizeof(std::uint32_t);
  std::uint32_t filled = 0;  // bytes written by the session
  std::uint32_t sent = 0;    // of them, taken by the kernel
  char bytes[kBytes];
};

class OutputPool {
 public:
  OutputBlock* acquire() {
    if (free_.empty()) {
      all_.push_back(std::make_unique_for_overwrite<OutputBlock>());
      free_.reserve(all_.size());
      free_.push_back(all_.back().get());
    }
    OutputBlock* block = free_.back();
    free_.pop_back();
    block->filled = block->sent = 0;
    return block;
  }
  void release(OutputBlock* block) { free_.push_back(block); }
  std::size_t blocks() const { return all_.size(); }

 private:
  std::vector<std::unique_ptr<OutputBlock>> all_;
  std::vector<OutputBlock*> free_;
};

}  // namespace mxring::net
