// Coarse deadlines for many objects: a wheel of lists, one per tick, each timer linked into the
// tick of its deadline. Moving a deadline further out costs nothing but a store: the timer is
// looked at when its old tick comes, and put back if it is not due yet. Pure: time is an argument.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "base/intrusive_list.h"

namespace mxring::uring {

struct Timer {
  base::ListHook hook;
  base::MonoTime deadline;  // when it is due; set through TimerWheel::set
  std::int64_t tick = 0;    // the wheel's: the tick it is linked into, at or before the deadline's
  bool armed() const { return hook.linked(); }
};

class TimerWheel {
 public:
  static constexpr std::int64_t kTickNs = 250 * base::kNsPerMs;
  static constexpr std::size_t kTicks = 2048;  // 512 s around; longer deadlines go around again

  explicit TimerWheel(base::MonoTime start) : current_tick_(start.ns / kTickNs) {}

  // Arms, or moves the deadline either way. Late by at most one tick, never early.
  void set(Timer& timer, base::MonoTime deadline);
  void cancel(Timer& timer);

  // Calls due(timer) for each timer whose deadline has passed, unlinked; due() may set it again.
  template <class F>
  void advance(base::MonoTime now, F&& due);

  bool empty() const { return armed_ == 0; }

 private:
  using List = base::IntrusiveList<Timer, &Timer::hook>;

  // The first tick that starts at or after the deadline, so that nothing is ever early.
  static std::int64_t tick_of(base::MonoTime deadline) {
    return deadline.ns / kTickNs + (deadline.ns % kTickNs > 0 ? 1 : 0);
  }
  List& list_of(std::int64_t tick) { return lists_[static_cast<std::size_t>(tick) % kTicks]; }
  void link(Timer& timer);
  void unlink(Timer& timer);

  std::array<List, kTicks> lists_;
  std::int64_t current_tick_;
  std::size_t armed_ = 0;
};

template <class F>
void TimerWheel::advance(base::MonoTime now, F&& due) {
  const std::int64_t now_tick = now.ns / kTickNs;
  if (now_tick <= current_tick_) return;
  const std::int64_t first = current_tick_ + 1;
  // After a pause longer than the wheel, one visit to each list sees every timer.
  const std::int64_t visits =
      std::min<std::int64_t>(now_tick - current_tick_, static_cast<std::int64_t>(kTicks));
  current_tick_ = now_tick;
  for (std::int64_t i = 0; i < visits && armed_ != 0; ++i) {
    List& list = list_of(first + i);
    // Counted beforehand: what due() or link() adds to this list goes behind and is not for now.
    for (std::size_t left = list.size(); left > 0 && !list.empty(); --left) {
      Timer& timer = *list.front();
      const bool is_due = timer.tick <= now_tick && timer.deadline <= now;
      unlink(timer);
      if (is_due) {
        due(timer);
      } else {
        link(timer);
      }
    }
  }
}

}  // namespace mxring::uring
