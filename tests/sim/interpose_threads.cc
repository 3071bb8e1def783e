// Threads, locks, condition variables and futexes: each thread is a fiber, and whoever waits gives
// the others their turn.
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <cstdarg>
#include <ctime>

#include "tests/sim/interpose.h"

using mxring::sim::Fiber;
using mxring::sim::Ns;
using mxring::sim::World;

namespace {

Ns to_ns(const timespec* time) {
  return time->tv_sec * mxring::sim::kSecond + time->tv_nsec;
}

Ns deadline_of(clockid_t clock, const timespec* time) {
  World& world = *World::current();
  if (clock != CLOCK_REALTIME) return to_ns(time);
  return world.now() + (to_ns(time) - world.wall_us() * mxring::sim::kUs);
}

int wait_for_condition(pthread_cond_t* condition, pthread_mutex_t* mutex, Ns deadline) {
  World& world = *World::current();
  pthread_mutex_unlock(mutex);
  const bool woken = world.wait_on(condition, deadline);
  pthread_mutex_lock(mutex);
  return woken ? 0 : ETIMEDOUT;
}

long futex(std::uint32_t* word, int operation, std::uint32_t value, const timespec* timeout) {
  World& world = *World::current();
  const int command = operation & FUTEX_CMD_MASK;
  if (command == FUTEX_WAKE || command == FUTEX_WAKE_BITSET) {
    world.maybe_yield(100);
    return world.wake(word, static_cast<int>(value));
  }
  if (command != FUTEX_WAIT && command != FUTEX_WAIT_BITSET) return -ENOSYS;
  // Between the look at the word and the call the other side may do anything.
  world.maybe_yield(200);
  if (__atomic_load_n(word, __ATOMIC_SEQ_CST) != value) return -EAGAIN;
  Ns deadline = -1;
  if (timeout != nullptr) {
    const bool absolute = command == FUTEX_WAIT_BITSET;
    const clockid_t clock =
        (operation & FUTEX_CLOCK_REALTIME) != 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    deadline = absolute ? deadline_of(clock, timeout) : world.now() + to_ns(timeout);
  }
  return world.wait_on(word, deadline) ? 0 : -ETIMEDOUT;
}

}  // namespace

extern "C" {

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) {
  if (!World::in_fiber()) {
    return MXRING_SIM_REAL(pthread_create)(thread, attributes, start, argument);
  }
  World& world = *World::current();
  Fiber* fiber = world.spawn("thread", World::process_of_current(), [=] { start(argument); });
  *thread = mxring::sim::handle_of(fiber);
  world.maybe_yield(300);
  return 0;
}

int pthread_join(pthread_t thread, void** result) {
  if (!mxring::sim::is_fiber_handle(thread)) return MXRING_SIM_REAL(pthread_join)(thread, result);
  Fiber* fiber = mxring::sim::fiber_of(thread);
  while (!World::current()->finished(fiber)) World::current()->wait_on(fiber, -1);
  return 0;
}

int pthread_detach(pthread_t thread) {
  if (!mxring::sim::is_fiber_handle(thread)) return MXRING_SIM_REAL(pthread_detach)(thread);
  return 0;
}

int pthread_getcpuclockid(pthread_t thread, clockid_t* clock) {
  if (!mxring::sim::is_fiber_handle(thread)) {
    return MXRING_SIM_REAL(pthread_getcpuclockid)(thread, clock);
  }
  return ENOENT;
}

int pthread_kill(pthread_t thread, int signal) {
  if (!mxring::sim::is_fiber_handle(thread)) return MXRING_SIM_REAL(pthread_kill)(thread, signal);
  return 0;
}

int pthread_setaffinity_np(pthread_t, size_t, const cpu_set_t*) {
  return 0;
}

int pthread_setname_np(pthread_t thread, const char* name) {
  if (World::in_fiber()) return 0;
  return MXRING_SIM_REAL(pthread_setname_np)(thread, name);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) {
  if (!World::in_fiber()) return MXRING_SIM_REAL(pthread_mutex_lock)(mutex);
  const auto try_lock = MXRING_SIM_REAL(pthread_mutex_trylock);
  for (;;) {
    const int result = try_lock(mutex);
    if (result != EBUSY) return result;
    World::current()->wait_on(mutex, -1);
  }
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) {
  const int result = MXRING_SIM_REAL(pthread_mutex_unlock)(mutex);
  if (World::in_fiber()) World::current()->wake(mutex, 1);
  return result;
}

int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex) {
  if (!World::in_fiber()) return MXRING_SIM_REAL(pthread_cond_wait)(condition, mutex);
  return wait_for_condition(condition, mutex, -1);
}

int pthread_cond_timedwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                           const timespec* time) {
  if (!World::in_fiber()) return MXRING_SIM_REAL(pthread_cond_timedwait)(condition, mutex, time);
  return wait_for_condition(condition, mutex, deadline_of(CLOCK_REALTIME, time));
}

int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex, clockid_t clock,
                           const timespec* time) {
  if (!World::in_fiber()) {
    return MXRING_SIM_REAL(pthread_cond_clockwait)(condition, mutex, clock, time);
  }
  return wait_for_condition(condition, mutex, deadline_of(clock, time));
}

int pthread_cond_signal(pthread_cond_t* condition) noexcept {
  if (!World::in_fiber()) return MXRING_SIM_REAL(pthread_cond_signal)(condition);
  World::current()->wake(condition, 1);
  return 0;
}

int pthread_cond_broadcast(pthread_cond_t* condition) noexcept {
  if (!World::in_fiber()) return MXRING_SIM_REAL(pthread_cond_broadcast)(condition);
  World::current()->wake(condition, INT_MAX);
  return 0;
}

int sched_yield() noexcept {
  if (!World::in_fiber()) return MXRING_SIM_REAL(sched_yield)();
  World::current()->spend(1000);
  World::current()->yield();
  return 0;
}

long syscall(long number, ...) noexcept {
  va_list list;
  va_start(list, number);
  long arguments[6];
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  if (number == SYS_futex && World::in_fiber()) {
    return mxring::sim::answer(futex(
        reinterpret_cast<std::uint32_t*>(arguments[0]), static_cast<int>(arguments[1]),
        static_cast<std::uint32_t>(arguments[2]), reinterpret_cast<const timespec*>(arguments[3])));
  }
  return MXRING_SIM_REAL(syscall)(number, arguments[0], arguments[1], arguments[2], arguments[3],
                                  arguments[4], arguments[5]);
}

}  // extern "C"
