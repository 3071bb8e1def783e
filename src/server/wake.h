// How a thread that has nothing to do is told that it has. The sleeper announces its sleep before
// its last look at its queue; the waker publishes work before it looks for the announcement: with
// both sequentially consistent, one of them always sees the other, and a busy thread costs its
// wakers no system call.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <ctime>

#include "base/clock.h"

namespace mxring::server {

// For a thread that sleeps in futex(2).
class FutexWake {
 public:
  // Any thread, after publishing work. True when a system call was made.
  bool wake() {
    std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in sleep_unless()
    if (asleep_.load(std::memory_order_relaxed) == 0) return false;
    asleep_.store(0, std::memory_order_release);
    ::syscall(SYS_futex, word(), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
    return true;
  }

  // The sleeper. `has_work` is asked once more after the sleep was announced.
  template <class HasWork>
  void sleep_unless(HasWork&& has_work, std::int64_t timeout_ns) {
    asleep_.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in wake()
    if (!has_work()) {
      const timespec timeout{timeout_ns / base::kNsPerSecond, timeout_ns % base::kNsPerSecond};
      ::syscall(SYS_futex, word(), FUTEX_WAIT_PRIVATE, 1, &timeout, nullptr, 0);
    }
    asleep_.store(0, std::memory_order_relaxed);
  }

 private:
  std::uint32_t* word() { return reinterpret_cast<std::uint32_t*>(&asleep_); }
  std::atomic<std::uint32_t> asleep_{0};
  static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));
};

// For a thread that sleeps in its ring, which watches `event_fd`.
class RingWake {
 public:
  explicit RingWake(int event_fd) : event_fd_(event_fd) {}

  // Any thread, after publishing work. True when a system call was made.
  bool wake() {
    std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in announce()
    if (asleep_.exchange(0, std::memory_order_relaxed) == 0) return false;
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof one);
    return true;
  }

  // The sleeper: before it looks at its queue for the last time, and after it woke.
  void announce() {
    asleep_.store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);  // pairs with the fence in wake()
  }
  void withdraw() { asleep_.store(0, std::memory_order_relaxed); }

 private:
  int event_fd_;
  std::atomic<std::uint32_t> asleep_{0};
};

}  // namespace mxring::server
