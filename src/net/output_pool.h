// Blocks for replies on their way out. A connection holds some only while it has something to send,
// so ten thousand idle connections hold none. Last in, first out: warm blocks are reused first.
// Thread: the shard's.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/assert.h"

namespace mxring::net {

struct OutputBlock {
  static constexpr std::uint32_t kBytes = 4096 - 2 * sizeof(std::uint32_t) - sizeof(void*);
  std::uint32_t filled = 0;  // bytes written by the session
  std::uint32_t sent = 0;    // of them, taken by the kernel
  OutputBlock* next = nullptr;
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
    block->next = nullptr;
    return block;
  }
  void release(OutputBlock* block) { free_.push_back(block); }
  std::size_t blocks() const { return all_.size(); }
  std::size_t lent() const { return all_.size() - free_.size(); }

 private:
  std::vector<std::unique_ptr<OutputBlock>> all_;
  std::vector<OutputBlock*> free_;
};

// What one connection has to send. In the clear it is one block, lent to the session; a flight of a
// TLS handshake, with its certificates, takes several.
class OutputQueue {
 public:
  explicit OutputQueue(OutputPool& pool) : pool_(pool) {}
  OutputQueue(const OutputQueue&) = delete;
  OutputQueue& operator=(const OutputQueue&) = delete;
  ~OutputQueue() {
    while (head_ != nullptr) drop_head();
  }

  // The free part of the last block; wrote() says how much of it was filled.
  std::span<char> room() {
    if (tail_ == nullptr) add_block();
    return {tail_->bytes + tail_->filled, OutputBlock::kBytes - tail_->filled};
  }
  std::size_t blocks() const { return blocks_; }
  std::size_t bytes_held() const { return blocks_ * sizeof(OutputBlock); }
  void wrote(std::size_t n) {
    MXRING_ASSERT(n == 0 || (tail_ != nullptr && n <= OutputBlock::kBytes - tail_->filled));
    if (tail_ != nullptr) tail_->filled += static_cast<std::uint32_t>(n);
  }
  // Into as many blocks as it takes.
  void append(std::string_view bytes) {
    while (!bytes.empty()) {
      if (tail_ == nullptr || tail_->filled == OutputBlock::kBytes) add_block();
      const std::span<char> free = room();
      const std::size_t n = std::min(free.size(), bytes.size());
      std::memcpy(free.data(), bytes.data(), n);
      wrote(n);
      bytes.remove_prefix(n);
    }
  }

  bool has_unsent() const { return head_ != nullptr && head_->sent < head_->filled; }
  // What to send next, in one piece.
  std::string_view unsent() const {
    return head_ == nullptr
               ? std::string_view()
               : std::string_view(head_->bytes + head_->sent, head_->filled - head_->sent);
  }
  void sent(std::size_t n) {
    MXRING_ASSERT(head_ != nullptr && n <= head_->filled - head_->sent);
    head_->sent += static_cast<std::uint32_t>(n);
    release_sent();
  }
  void invariants() const {
    MXRING_ASSERT((head_ == nullptr) == (blocks_ == 0) && (tail_ == nullptr) == (blocks_ == 0));
    for (const OutputBlock* block = head_; block != nullptr; block = block->next) {
      MXRING_ASSERT(block->sent <= block->filled && block->filled <= OutputBlock::kBytes);
      MXRING_ASSERT(block == head_ || block->sent == 0);  // sent in order
      MXRING_ASSERT(block->next != nullptr || block == tail_);
    }
  }
  // Gives the last block back when there is nothing in it.
  void release_sent() {
    if (head_ != nullptr && head_->sent == head_->filled) drop_head();
  }

 private:
  void add_block() {
    OutputBlock* block = pool_.acquire();
    (tail_ == nullptr ? head_ : tail_->next) = block;
    tail_ = block;
    ++blocks_;
  }
  void drop_head() {
    OutputBlock* next = head_->next;
    pool_.release(std::exchange(head_, next));
    if (head_ == nullptr) tail_ = nullptr;
    --blocks_;
  }

  OutputPool& pool_;
  OutputBlock* head_ = nullptr;
  OutputBlock* tail_ = nullptr;
  std::size_t blocks_ = 0;
};

}  // namespace mxring::net
