#include "uring/timer_wheel.h"

#include "base/assert.h"

namespace mxring::uring {

void TimerWheel::set(Timer& timer, base::MonoTime deadline) {
  timer.deadline = deadline;
  if (timer.armed()) {
    // Further out: it stays where it is and is put back when its old tick comes.
    if (tick_of(deadline) >= timer.tick) return;
    unlink(timer);
  }
  link(timer);
}

void TimerWheel::cancel(Timer& timer) {
  if (timer.armed()) unlink(timer);
}

void TimerWheel::link(Timer& timer) {
  // The current tick has been visited; a deadline in the past is due at the next one.
  timer.tick = std::max(tick_of(timer.deadline), current_tick_ + 1);
  list_of(timer.tick).push_back(timer);
  ++armed_;
}

void TimerWheel::unlink(Timer& timer) {
  MXRING_ASSERT(armed_ > 0 && timer.tick > 0);
  list_of(timer.tick).remove(timer);
  --armed_;
}

}  // namespace mxring::uring
