// Bounded queue between exactly one producer thread and one consumer thread: shard to writer with
// messages, writer to shard with acknowledgements. Wait-free, never allocates after construction,
// never drops: a full queue refuses the push and the producer keeps the value.
//
// Each side caches the other's index and re-reads it only when the cache says full or empty, so a
// busy queue moves one cache line per batch rather than one per element.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <utility>

#include "base/assert.h"

namespace mxring::spsc {

template <class T>
class Queue {
 public:
  // Holds at least `capacity` elements (rounded up to a power of two).
  explicit Queue(std::size_t capacity)
      : mask_(std::bit_ceil(capacity) - 1), slots_(std::make_unique<T[]>(mask_ + 1)) {
    MXRING_ASSERT(capacity > 0);
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  std::size_t capacity() const { return mask_ + 1; }

  // Producer. False when full; `value` is then untouched.
  bool push(T&& value) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - cached_head_ > mask_) {
      // Pairs with the release in pop(): the slot has been moved from before we write it again.
      cached_head_ = head_.load(std::memory_order_acquire);
      if (tail - cached_head_ > mask_) return false;
    }
    slots_[tail & mask_] = std::move(value);
    // Pairs with the acquire in pop(): the element is visible before the index that names it.
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  // Consumer. False when empty.
  bool pop(T& value) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == cached_tail_) {
      // Pairs with the release in push().
      cached_tail_ = tail_.load(std::memory_order_acquire);
      if (head == cached_tail_) return false;
    }
    value = std::move(slots_[head & mask_]);
    // Pairs with the acquire in push(): we are done with the slot.
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

  // Either side, and only a hint there: the other side may be moving.
  bool empty() const {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire);
  }
  std::size_t size() const {
    const std::size_t head = head_.load(std::memory_order_acquire);
    return tail_.load(std::memory_order_acquire) - head;
  }

 private:
  static constexpr std::size_t kCacheLine = 64;

  const std::size_t mask_;
  const std::unique_ptr<T[]> slots_;
  alignas(kCacheLine) std::atomic<std::size_t> head_{0};  // written by the consumer
  alignas(kCacheLine) std::size_t cached_tail_ = 0;       // consumer's copy of tail_
  alignas(kCacheLine) std::atomic<std::size_t> tail_{0};  // written by the producer
  alignas(kCacheLine) std::size_t cached_head_ = 0;       // producer's copy of head_
};

}  // namespace mxring::spsc
