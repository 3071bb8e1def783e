// The last turns of each loop, for the report of a crash: when they began, what they handled.
// Written by the loop's thread with plain relaxed stores, read by whoever reports, also from a
// signal handler while the loop is in the middle of a turn: the newest entry may then be half
// written, which does no harm to a person who reads it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/assert.h"

namespace mxring::obs {

class TurnRing {
 public:
  static constexpr std::size_t kTurns = 8;
  struct Turn {
    std::uint64_t number = 0;
    std::int64_t began_ns = 0;  // monotonic
    std::uint64_t completions = 0;
    std::uint64_t connections = 0;
  };

  // Owner thread, once it knows what the turn brought.
  void record(const Turn& turn) {
    Entry& entry = entries_[turn.number % kTurns];
    entry.number.store(turn.number, std::memory_order_relaxed);
    entry.began_ns.store(turn.began_ns, std::memory_order_relaxed);
    entry.completions.store(turn.completions, std::memory_order_relaxed);
    entry.connections.store(turn.connections, std::memory_order_relaxed);
    newest_.store(turn.number, std::memory_order_relaxed);
  }

  // Any thread: the turn `back` turns before the newest one. False when there was none.
  bool at(std::size_t back, Turn& turn) const {
    MXRING_ASSERT(back < kTurns);
    const std::uint64_t newest = newest_.load(std::memory_order_relaxed);
    if (newest < back + 1) return false;
    const Entry& entry = entries_[(newest - back) % kTurns];
    turn = {.number = entry.number.load(std::memory_order_relaxed),
            .began_ns = entry.began_ns.load(std::memory_order_relaxed),
            .completions = entry.completions.load(std::memory_order_relaxed),
            .connections = entry.connections.load(std::memory_order_relaxed)};
    return true;
  }

 private:
  struct Entry {
    std::atomic<std::uint64_t> number{0};
    std::atomic<std::int64_t> began_ns{0};
    std::atomic<std::uint64_t> completions{0};
    std::atomic<std::uint64_t> connections{0};
  };
  std::array<Entry, kTurns> entries_;
  std::atomic<std::uint64_t> newest_{0};  // turns are counted from 1
};

}  // namespace mxring::obs
