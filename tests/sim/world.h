// One simulated life: virtual time, the fibers that the threads of the program under test have
// become, events to come, and the trace. Everything runs in one operating-system thread; which of
// several runnable fibers goes on is the dice's decision, and a fiber loses its turn only where it
// calls the system (tests/sim/interpose_*.cc).
//
// A process is a set of fibers that die together: kill(2) -9 and a power cut leave its memory as it
// is, unused, and its descriptors closed. Lives run in forked children, so nothing is kept.
#pragma once

#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/sim/dice.h"

namespace mxring::sim {

using Ns = std::int64_t;
constexpr Ns kUs = 1000;
constexpr Ns kMs = 1000 * kUs;
constexpr Ns kSecond = 1000 * kMs;

class Disk;
class Net;
class SimEngine;
struct Fiber;

// What a judge finds wrong. Ends the life.
[[noreturn]] void convict(const std::string& what);

class World {
 public:
  explicit World(std::uint64_t seed);
  ~World();
  static World* current() { return current_; }
  static bool in_fiber();

  Dice& dice() { return dice_; }
  Disk& disk() { return *disk_; }
  Net& net() { return *net_; }

  // ---- time
  Ns now() const { return now_; }
  Ns wall_us() const { return wall_base_us_ + now_ / kUs; }
  void jump_wall(Ns by_us) { wall_base_us_ += by_us; }
  void spend(Ns ns) { now_ += ns; }  // computing takes time, too
  void at(Ns when, std::function<void()> what);
  void after(Ns delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }

  // ---- fibers
  Fiber* spawn(std::string name, int process, std::function<void()> body);
  // In a fiber: sleeps until wake(key) or the deadline (negative: none). False when time ran out.
  bool wait_on(const void* key, Ns deadline);
  int wake(const void* key, int count);
  // In a fiber: others may go first.
  void yield();
  void maybe_yield(std::uint64_t chance_permille);
  static int process_of_current();
  void kill(int process);
  // In a fiber that was killed: never returns.
  [[noreturn]] static void leave();
  bool finished(const Fiber* fiber) const;
  std::size_t fibers_of(int process) const;

  // Runs until `done` says so. False when nothing is left that could happen, or the time is over.
  bool run(const std::function<bool()>& done, Ns until);

  // ---- trace
  void set_readable(bool on) { readable_ = on; }
  bool readable() const { return readable_; }
  void trace(std::string_view what);
  std::uint64_t trace_hash() const { return hash_; }
  std::uint64_t steps() const { return steps_; }
  std::uint64_t switches() const { return switches_; }

 private:
  struct Event {
    Ns when;
    std::uint64_t order;
    std::function<void()> what;
    bool operator<(const Event& other) const {
      return when != other.when ? when > other.when : order > other.order;
    }
  };
  void resume(Fiber& fiber);
  void to_scheduler();
  bool step(Ns until);

  static World* current_;
  Dice dice_;
  Ns now_ = 1'000 * kSecond;
  Ns wall_base_us_ = 1'796'083'200'000'000;
  std::priority_queue<Event> events_;
  std::uint64_t event_order_ = 0;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> runnable_;
  std::vector<Fiber*> sleeping_;
  std::uint64_t hash_ = 0xCBF29CE484222325ULL;
  std::uint64_t steps_ = 0;
  std::uint64_t switches_ = 0;
  bool readable_ = false;
  std::unique_ptr<Disk> disk_;
  std::unique_ptr<Net> net_;
};

// A fiber's handle as the program under test sees it: a pthread_t.
bool is_fiber_handle(unsigned long handle);
unsigned long handle_of(const Fiber* fiber);
Fiber* fiber_of(unsigned long handle);

}  // namespace mxring::sim
