#include "tests/sim/world.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#include "tests/sim/disk.h"
#include "tests/sim/net.h"

// Exceptions under way belong to the fiber.
namespace __cxxabiv1 {
struct __cxa_eh_globals;
extern "C" __cxa_eh_globals* __cxa_get_globals() noexcept;
}  // namespace __cxxabiv1

namespace mxring::sim {

namespace {

constexpr std::size_t kStackBytes = 512 * 1024;
constexpr std::size_t kGuardBytes = 4096;
constexpr std::size_t kExceptionBytes = 16;  // of __cxa_eh_globals
constexpr unsigned long kHandleBase = 0x51'0000'0000UL;

}  // namespace

struct Fiber {
  std::string name;
  int process = 0;
  std::function<void()> body;
  ucontext_t context{};
  enum class State { kRunnable, kSleeping, kDone, kDead } state = State::kRunnable;
  const void* key = nullptr;
  Ns deadline = -1;
  bool woken = false;
  int saved_errno = 0;
  char exceptions[kExceptionBytes] = {};
  unsigned long handle = 0;
};

namespace {

ucontext_t g_scheduler;
Fiber* g_running = nullptr;
std::vector<Fiber*> g_handles;

void entry() {
  Fiber* self = g_running;
  self->body();
  self->state = Fiber::State::kDone;
  World::current()->trace("ends " + self->name);
  World::current()->wake(self, 1 << 20);
  swapcontext(&self->context, &g_scheduler);
  std::abort();
}

}  // namespace

World* World::current_ = nullptr;

bool is_fiber_handle(unsigned long handle) {
  return handle >= kHandleBase && handle < kHandleBase + g_handles.size();
}
unsigned long handle_of(const Fiber* fiber) {
  return fiber->handle;
}
Fiber* fiber_of(unsigned long handle) {
  return g_handles[handle - kHandleBase];
}

World::World(std::uint64_t seed)
    : dice_(seed), disk_(std::make_unique<Disk>(*this)), net_(std::make_unique<Net>(*this)) {
  current_ = this;
}

World::~World() {
  current_ = nullptr;
}

bool World::in_fiber() {
  return current_ != nullptr && g_running != nullptr;
}

int World::process_of_current() {
  return g_running == nullptr ? 0 : g_running->process;
}

void World::at(Ns when, std::function<void()> what) {
  events_.push({std::max(when, now_), event_order_++, std::move(what)});
}

Fiber* World::spawn(std::string name, int process, std::function<void()> body) {
  auto fiber = std::make_unique<Fiber>();
  fiber->name = std::move(name);
  fiber->process = process;
  fiber->body = std::move(body);
  void* stack = ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (stack == MAP_FAILED) std::abort();
  ::mprotect(stack, kGuardBytes, PROT_NONE);
  getcontext(&fiber->context);
  fiber->context.uc_stack.ss_sp = stack;
  fiber->context.uc_stack.ss_size = kStackBytes;
  fiber->context.uc_link = nullptr;
  makecontext(&fiber->context, &entry, 0);
  fiber->handle = kHandleBase + g_handles.size();
  g_handles.push_back(fiber.get());
  runnable_.push_back(fiber.get());
  fibers_.push_back(std::move(fiber));
  return fibers_.back().get();
}

void World::resume(Fiber& fiber) {
  ++switches_;
  auto* exceptions = reinterpret_cast<char*>(__cxxabiv1::__cxa_get_globals());
  char kept[kExceptionBytes];
  std::memcpy(kept, exceptions, sizeof kept);
  std::memcpy(exceptions, fiber.exceptions, sizeof kept);
  g_running = &fiber;
  errno = fiber.saved_errno;
  swapcontext(&g_scheduler, &fiber.context);
  fiber.saved_errno = errno;
  g_running = nullptr;
  std::memcpy(fiber.exceptions, exceptions, sizeof kept);
  std::memcpy(exceptions, kept, sizeof kept);
}

void World::to_scheduler() {
  Fiber* self = g_running;
  swapcontext(&self->context, &g_scheduler);
}

bool World::wait_on(const void* key, Ns deadline) {
  Fiber* self = g_running;
  self->key = key;
  self->deadline = deadline;
  self->woken = false;
  self->state = Fiber::State::kSleeping;
  sleeping_.push_back(self);
  to_scheduler();
  return self->woken;
}

int World::wake(const void* key, int count) {
  int woken = 0;
  for (std::size_t i = 0; i < sleeping_.size() && woken < count;) {
    Fiber* fiber = sleeping_[i];
    if (fiber->key != key) {
      ++i;
      continue;
    }
    sleeping_.erase(sleeping_.begin() + static_cast<std::ptrdiff_t>(i));
    fiber->woken = true;
    fiber->state = Fiber::State::kRunnable;
    runnable_.push_back(fiber);
    ++woken;
  }
  return woken;
}

void World::yield() {
  if (g_running == nullptr) return;
  runnable_.push_back(g_running);
  to_scheduler();
}

void World::maybe_yield(std::uint64_t chance_permille) {
  if (g_running != nullptr && dice_.permille(chance_permille)) yield();
}

// Also of the fiber that is running: it never goes on.
void World::kill(int process) {
  for (const auto& fiber : fibers_) {
    if (fiber->process == process && fiber->state != Fiber::State::kDone) {
      fiber->state = Fiber::State::kDead;
    }
  }
  const auto dead = [](const Fiber* fiber) { return fiber->state == Fiber::State::kDead; };
  std::erase_if(runnable_, dead);
  std::erase_if(sleeping_, dead);
}

void World::leave() {
  current_->to_scheduler();
  std::abort();
}

bool World::finished(const Fiber* fiber) const {
  return fiber->state == Fiber::State::kDone;
}

std::size_t World::fibers_of(int process) const {
  return static_cast<std::size_t>(std::ranges::count_if(fibers_, [process](const auto& fiber) {
    return fiber->process == process && fiber->state != Fiber::State::kDone &&
           fiber->state != Fiber::State::kDead;
  }));
}

// One event, or one fiber until it calls the system and has to wait.
bool World::step(Ns until) {
  ++steps_;
  for (std::size_t i = 0; i < sleeping_.size();) {
    Fiber* fiber = sleeping_[i];
    if (fiber->deadline < 0 || fiber->deadline > now_) {
      ++i;
      continue;
    }
    sleeping_.erase(sleeping_.begin() + static_cast<std::ptrdiff_t>(i));
    fiber->state = Fiber::State::kRunnable;
    runnable_.push_back(fiber);
  }
  const bool event_due = !events_.empty() && events_.top().when <= now_;
  if (!runnable_.empty() && (!event_due || dice_.permille(700))) {
    const std::size_t at = dice_.below(runnable_.size());
    Fiber* fiber = runnable_[at];
    runnable_.erase(runnable_.begin() + static_cast<std::ptrdiff_t>(at));
    spend(dice_.between(200, 4000));
    resume(*fiber);
    return true;
  }
  Ns next = events_.empty() ? INT64_MAX : events_.top().when;
  if (!event_due) {
    for (const Fiber* fiber : sleeping_) {
      if (fiber->deadline >= 0) next = std::min(next, fiber->deadline);
    }
    if (next == INT64_MAX || next > until) return false;
    now_ = std::max(now_, next);
  }
  if (events_.empty() || events_.top().when > now_) return true;  // a sleeper's time has come
  auto what = std::move(const_cast<Event&>(events_.top()).what);
  events_.pop();
  what();
  return true;
}

bool World::run(const std::function<bool()>& done, Ns until) {
  while (!done()) {
    if (now_ > until || !step(until)) return false;
  }
  return true;
}

void World::trace(std::string_view what) {
  const auto mix = [this](std::uint64_t word) {
    hash_ = (hash_ ^ word) * 0x100000001B3ULL;
    hash_ ^= hash_ >> 29;
  };
  mix(static_cast<std::uint64_t>(now_));
  for (const char c : what) mix(static_cast<unsigned char>(c));
  if (readable_) {
    std::fprintf(stderr, "%12.6f  %.*s\n", static_cast<double>(now_) / 1e9,
                 static_cast<int>(what.size()), what.data());
  }
}

}  // namespace mxring::sim
