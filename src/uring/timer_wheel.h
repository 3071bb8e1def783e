// Coarse deadlines for many objects: a wheel of lists, one per tick, each timer linked into the
// tick of its deadline. Moving a deadline further out costs nothing but a store: the timer is
// looked at when its old tick comes, and put back if it is not due yet. Pure: time is an argument.
#pragma once

#include <array>
#include <cstdint>

#include "base/clock.h"
#include "base/intrusive_list.h"

namespace mxring::uring {

struct Timer {
  base::ListHook hook;
  base::MonoTime deadline;   // when it is due; set through TimerWheel::set
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
  List& list_for(base::MonoTime deadline);

  std::array<List, kTicks> lists_;
  std::int64_t current_tick_;
  std::size_t armed_ = 0;
};

}  // namespace mxring::uring
