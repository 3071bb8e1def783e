// Time and chance.
#include <sys/random.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <ctime>

#include "tests/sim/interpose.h"

using mxring::sim::kSecond;
using mxring::sim::kUs;
using mxring::sim::Ns;
using mxring::sim::World;

namespace {

void fill(void* out, size_t size) {
  auto* bytes = static_cast<unsigned char*>(out);
  for (size_t i = 0; i < size; i += 8) {
    const std::uint64_t word = World::current()->dice().next();
    std::memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
  }
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  World* world = World::current();
  if (world == nullptr || !World::in_fiber()) return MXRING_SIM_REAL(clock_gettime)(clock, time);
  switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE: {
      const Ns us = world->wall_us();
      *time = {us / 1'000'000, us % 1'000'000 * kUs};
      return 0;
    }
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
      world->spend(50);  // what is computed between two looks
      *time = {world->now() / kSecond, world->now() % kSecond};
      return 0;
    default:  // of CPU time nothing is simulated
      *time = {0, 0};
      return 0;
  }
}

int gettimeofday(timeval* time, void* zone) noexcept {
  World* world = World::current();
  if (world == nullptr) return MXRING_SIM_REAL(gettimeofday)(time, zone);
  const Ns us = world->wall_us();
  *time = {us / 1'000'000, us % 1'000'000};
  return 0;
}

time_t time(time_t* out) noexcept {
  World* world = World::current();
  const time_t now =
      world == nullptr ? MXRING_SIM_REAL(time)(nullptr) : world->wall_us() / 1'000'000;
  if (out != nullptr) *out = now;
  return now;
}

int clock_nanosleep(clockid_t clock, int flags, const timespec* time, timespec* left) {
  if (!World::in_fiber()) return MXRING_SIM_REAL(clock_nanosleep)(clock, flags, time, left);
  World* world = World::current();
  const Ns ns = time->tv_sec * kSecond + time->tv_nsec;
  world->wait_on(nullptr, (flags & TIMER_ABSTIME) != 0 ? ns : world->now() + ns);
  return 0;
}

int nanosleep(const timespec* time, timespec* left) {
  if (!World::in_fiber()) return MXRING_SIM_REAL(nanosleep)(time, left);
  return clock_nanosleep(CLOCK_MONOTONIC, 0, time, left);
}

// In the log's LOCK file, and in what a group's owner is called.
pid_t getpid() noexcept {
  if (!World::in_fiber()) return MXRING_SIM_REAL(getpid)();
  return 4000 + World::process_of_current();
}

ssize_t getrandom(void* out, size_t size, unsigned flags) {
  if (World::current() == nullptr) return MXRING_SIM_REAL(getrandom)(out, size, flags);
  fill(out, size);
  return static_cast<ssize_t>(size);
}

int getentropy(void* out, size_t size) {
  if (World::current() == nullptr) return MXRING_SIM_REAL(getentropy)(out, size);
  fill(out, size);
  return 0;
}

void arc4random_buf(void* out, size_t size) noexcept {
  if (World::current() == nullptr) return MXRING_SIM_REAL(arc4random_buf)(out, size);
  fill(out, size);
}

}  // extern "C"
