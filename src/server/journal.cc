#include "server/journal.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <string>

#include "base/assert.h"
#include "base/clock.h"
#include "obs/line_output.h"
#include "obs/line_queue.h"
#include "server/wake.h"

namespace mxring::server {

namespace {

constexpr std::size_t kLines = 128;
constexpr std::size_t kGatherBytes = 32 << 10;  // written together
constexpr int kReaderMs = 100;                  // how long one wait for the reader lasts
constexpr std::int64_t kIdleNs = 60 * base::kNsPerSecond;
constexpr std::int64_t kEndNs = base::kNsPerSecond;
constexpr std::int64_t kInterruptNs = base::kNsPerSecond;
constexpr std::string_view kName = "mxring: ";

// systemd names the device and inode of the stream it reads; then, and only then, a line may begin
// with its urgency (sd-daemon(3)).
bool is_system_journal(int fd) {
  const char* named = std::getenv("JOURNAL_STREAM");
  struct stat of {};
  if (named == nullptr || ::fstat(fd, &of) != 0) return false;
  return fmt::format("{}:{}", of.st_dev, of.st_ino) == named;
}

std::string_view urgency(std::string_view line) {
  if (line.starts_with("fatal: ")) return "<2>";
  return line.starts_with("warning: ") ? "<4>" : "<6>";
}

}  // namespace

struct Journal::State {
  explicit State(int fd) : output(fd), with_urgency(is_system_journal(fd)) {}

  void run();
  void gather();
  void append(std::string_view line);
  void say_dropped();

  obs::LineQueue queue{kLines};
  FutexWake wake;
  std::atomic<bool> stopping{false};
  std::atomic<bool> ended{false};
  std::atomic<std::size_t> written{0};  // lines, of those that found room
  std::atomic<std::uint64_t> lost{0};   // gathered already, when the reader went

  // The thread's own.
  obs::LineOutput output;
  const bool with_urgency;
  std::uint64_t said_dropped = 0;
  std::uint64_t unwritten_lines = 0;
};

void Journal::State::append(std::string_view line) {
  if (with_urgency)
    output.append(urgency(line.starts_with(kName) ? line.substr(kName.size()) : line));
  output.append(line);
  if (!line.ends_with('\n')) output.append("\n");
  ++unwritten_lines;
}

void Journal::State::say_dropped() {
  const std::uint64_t dropped = queue.dropped();
  if (dropped == said_dropped) return;
  append(
      fmt::format("{}warning: {} lines were dropped here: whoever reads them had stopped reading",
                  kName, dropped - said_dropped));
  said_dropped = dropped;
}

void Journal::State::gather() {
  while (output.pending() < kGatherBytes &&
         queue.pop([this](std::string_view line) { append(line); })) {
  }
  // After the lines that were in front of the gap.
  if (queue.empty()) say_dropped();
}

void Journal::State::run() {
  pthread_setname_np(pthread_self(), "mxring-journal");
  base::MonoTime last_moment{INT64_MAX};
  for (;;) {
    const bool stop = stopping.load(std::memory_order_seq_cst);
    const base::MonoTime now = base::read_clocks().mono;
    if (stop && last_moment.ns == INT64_MAX) last_moment = now + kEndNs;
    if (output.pending() == 0) gather();
    switch (output.flush(kReaderMs)) {
      case obs::LineOutput::Flushed::kAll:
        unwritten_lines = 0;
        break;
      case obs::LineOutput::Flushed::kLater:
        break;
      case obs::LineOutput::Flushed::kBroken:
        lost.fetch_add(unwritten_lines, std::memory_order_relaxed);
        unwritten_lines = 0;
        break;
    }
    const bool idle = output.pending() == 0 && queue.empty();
    if (output.pending() == 0) written.store(queue.taken(), std::memory_order_release);
    if (stop && (idle || now >= last_moment)) break;
    if (idle) {
      wake.sleep_unless(
          [this] { return !queue.empty() || stopping.load(std::memory_order_seq_cst); }, kIdleNs);
    }
  }
  ended.store(true, std::memory_order_release);  // pairs with the load in ~Journal()
}

Journal::Journal(int fd) : state_(std::make_shared<State>(fd)) {}

void Journal::start() {
  MXRING_ASSERT(!thread_.joinable());
  obs::LineOutput::prepare_interrupts();
  // Signals are other threads' business, but for the one that ends a write.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  sigdelset(&all, SIGURG);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  thread_ = std::thread([state = state_] { state->run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Journal::~Journal() {
  if (!thread_.joinable()) start();  // what was said before goes out
  state_->stopping.store(true, std::memory_order_seq_cst);
  state_->wake.wake();
  const base::MonoTime begin = base::read_clocks().mono;
  const base::MonoTime patience = begin + kEndNs + 3 * kReaderMs * base::kNsPerMs;
  while (!state_->ended.load(std::memory_order_acquire)) {  // pairs with the store in run()
    const base::MonoTime now = base::read_clocks().mono;
    if (now >= patience + kInterruptNs) {
      thread_.detach();
      return;
    }
    if (now >= patience) obs::LineOutput::interrupt(thread_.native_handle());
    const timespec nap{0, now - begin < 20 * base::kNsPerMs ? 200'000 : 10 * base::kNsPerMs};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
  }
  thread_.join();
}

void Journal::notice(std::string_view line) noexcept {
  char whole[obs::LineQueue::kLineBytesMax + 1];
  const std::size_t size = std::min(line.size(), sizeof whole - kName.size());
  kName.copy(whole, kName.size());
  line.copy(whole + kName.size(), size);
  text(std::string_view(whole, kName.size() + size));
}

void Journal::text(std::string_view lines) noexcept {
  state_->queue.push(lines);
  state_->wake.wake();
}

void Journal::settle() const {
  if (!thread_.joinable()) return;
  const base::MonoTime patience = base::read_clocks().mono + kEndNs;
  const std::size_t said = state_->queue.pushed();
  while (state_->written.load(std::memory_order_acquire) < said &&  // pairs with the store in run()
         base::read_clocks().mono < patience) {
    const timespec nap{0, 200'000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, nullptr);
  }
}

std::uint64_t Journal::dropped() const {
  return state_->queue.dropped() + state_->lost.load(std::memory_order_relaxed);
}

}  // namespace mxring::server
