#include "cli/watchdog.h"

#include <fmt/format.h>
#include <pthread.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <limits>

#include "obs/service_notice.h"
#include "server/pulse_watch.h"

namespace mxring::cli {

namespace {

std::int64_t number_of(const char* text) {
  if (text == nullptr) return 0;
  char* end = nullptr;
  const long long number = std::strtoll(text, &end, 10);
  return end != text && *end == '\0' && number > 0 ? number : 0;
}

}  // namespace

std::int64_t watchdog_ns() {
  constexpr std::int64_t kNsPerUs = 1000;
  const std::int64_t us = number_of(std::getenv("WATCHDOG_USEC"));
  if (us == 0 || us > std::numeric_limits<std::int64_t>::max() / kNsPerUs) return 0;
  const char* meant = std::getenv("WATCHDOG_PID");
  if (meant != nullptr && number_of(meant) != ::getpid()) return 0;
  return us * kNsPerUs;
}

void Watchdog::start(server::Server& receiver, server::Journal& journal) {
  const std::int64_t limit_ns = watchdog_ns();
  if (limit_ns == 0) return;
  // Three looks in the manager's time: one may come late.
  thread_ =
      std::thread([this, &receiver, &journal, limit_ns] { run(receiver, journal, limit_ns / 3); });
}

void Watchdog::stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  stopped_.notify_all();
  thread_.join();
}

bool Watchdog::wait(std::int64_t ns) {
  std::unique_lock lock(mutex_);
  return !stopped_.wait_for(lock, std::chrono::nanoseconds(ns), [this] { return stopping_; });
}

void Watchdog::run(server::Server& receiver, server::Journal& journal, std::int64_t every_ns) {
  pthread_setname_np(pthread_self(), "mxring-watchdog");
  std::string said;
  obs::notify_service("WATCHDOG=1");
  for (;;) {
    const std::vector<server::Pulse> before = receiver.pulses();
    receiver.poke();
    if (!wait(every_ns)) return;
    const auto still = server::standing_still(before, receiver.pulses(), base::read_clocks().mono);
    const std::string names = fmt::format("{}", fmt::join(still, ", "));
    if (still.empty()) obs::notify_service("WATCHDOG=1");
    if (!still.empty() && names != said) {
      journal.notice(fmt::format(
          "fatal: {} stands still; unless it goes on, the service manager starts this process anew",
          names));
    }
    said = names;
  }
}

}  // namespace mxring::cli
