// Lines from any number of threads to the one that writes them. Bounded: a full queue refuses the
// line at once and counts it, so that nobody ever waits for whoever reads standard error. A line
// that is too long for its place is cut, which shows.
//
// Threads: push() any, pop() one. Neither locks, allocates or waits. Each slot carries the number
// of the turn that may use it next (D. Vyukov's bounded queue): a producer takes a turn with one
// compare-and-swap and publishes the slot by its turn number.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "base/assert.h"

namespace mxring::obs {

class LineQueue {
 public:
  static constexpr std::size_t kLineBytesMax = 4000;
  static constexpr std::string_view kCut = "...";

  // Holds at least `lines` (rounded up to a power of two).
  explicit LineQueue(std::size_t lines)
      : mask_(std::bit_ceil(lines) - 1), slots_(std::make_unique<Slot[]>(mask_ + 1)) {
    MXRING_ASSERT(lines > 0);
    for (std::size_t i = 0; i <= mask_; ++i) slots_[i].turn.store(i, std::memory_order_relaxed);
  }
  LineQueue(const LineQueue&) = delete;
  LineQueue& operator=(const LineQueue&) = delete;

  // False when there was no room; the line is counted in dropped() then, if it `counts`.
  bool push(std::string_view line, bool counts = true) noexcept {
    std::size_t turn = tail_.load(std::memory_order_relaxed);
    for (;;) {
      Slot& slot = slots_[turn & mask_];
      // Pairs with the release in pop(): the slot has been read before it is written again.
      const std::size_t at = slot.turn.load(std::memory_order_acquire);
      if (at == turn) {
        if (tail_.compare_exchange_weak(turn, turn + 1, std::memory_order_relaxed)) {
          fill(slot, line);
          // Pairs with the acquire in pop(): the bytes are visible before the turn that names them.
          slot.turn.store(turn + 1, std::memory_order_release);
          return true;
        }
      } else if (at < turn) {  // still holds a line that nobody has taken
        if (counts) dropped_.fetch_add(1, std::memory_order_relaxed);
        return false;
      } else {
        turn = tail_.load(std::memory_order_relaxed);
      }
    }
  }

  // Consumer. Hands the oldest line to `take`, whose view ends with the call. False when empty.
  template <class Take>
  bool pop(Take&& take) {
    Slot& slot = slots_[head_ & mask_];
    if (slot.turn.load(std::memory_order_acquire) != head_ + 1) return false;  // pairs with push()
    MXRING_ASSERT(slot.size <= kLineBytesMax);
    take(std::string_view(slot.bytes, slot.size));
    slot.turn.store(head_ + mask_ + 1, std::memory_order_release);  // pairs with push()
    ++head_;
    return true;
  }

  // Consumer.
  bool empty() const {
    return slots_[head_ & mask_].turn.load(std::memory_order_acquire) != head_ + 1;
  }
  std::size_t taken() const { return head_; }
  // Any thread: lines that found room since the start.
  std::size_t pushed() const { return tail_.load(std::memory_order_relaxed); }
  // Any thread: lines refused since the start.
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  struct Slot {
    std::atomic<std::size_t> turn{0};
    std::uint32_t size = 0;
    char bytes[kLineBytesMax];
  };

  static void fill(Slot& slot, std::string_view line) noexcept {
    const std::size_t size = std::min(line.size(), kLineBytesMax);
    std::memcpy(slot.bytes, line.data(), size);
    if (size < line.size()) {
      std::memcpy(slot.bytes + size - kCut.size(), kCut.data(), kCut.size());
    }
    slot.size = static_cast<std::uint32_t>(size);
  }

  static constexpr std::size_t kCacheLine = 64;

  const std::size_t mask_;
  const std::unique_ptr<Slot[]> slots_;
  alignas(kCacheLine) std::size_t head_ = 0;  // the consumer's
  alignas(kCacheLine) std::atomic<std::size_t> tail_{0};
  std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace mxring::obs
