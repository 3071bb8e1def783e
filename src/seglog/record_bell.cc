#include "seglog/record_bell.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <system_error>

#include "seglog/log_end.h"
#include "seglog/wake_page.h"

namespace mxring::seglog {

namespace {

constexpr std::int64_t kWaitNs = 500'000'000;  // then the lock is asked again
constexpr auto kPoll = std::chrono::milliseconds(50);

}  // namespace

std::unique_ptr<RecordBell> RecordBell::start(const std::filesystem::path& log, Offset wanted) {
  std::unique_ptr<RecordBell> bell(new RecordBell());
  bell->wanted_.store(wanted, std::memory_order_relaxed);
  bell->directory_fd_ = ::open(log.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bell->event_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (bell->directory_fd_ < 0 || bell->event_fd_ < 0) return nullptr;
  // Signals are for the threads that know what to do with them.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_BLOCK, &all, &before);
  try {
    bell->thread_ = std::thread([raw = bell.get()] { raw->run(); });
  } catch (const std::system_error&) {
    bell.reset();
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return bell;
}

RecordBell::~RecordBell() {
  if (thread_.joinable()) {
    stopping_.store(true, std::memory_order_seq_cst);
    WakePage page(directory_fd_);
    page.word();
    while (!ended_.load(std::memory_order_acquire)) {  // it may just be going to wait
      page.wake_waiters();
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    thread_.join();
  }
  if (event_fd_ >= 0) ::close(event_fd_);
  if (directory_fd_ >= 0) ::close(directory_fd_);
}

void RecordBell::quiet() {
  std::uint64_t rung = 0;
  [[maybe_unused]] const ssize_t got = ::read(event_fd_, &rung, sizeof rung);
}

void RecordBell::want(Offset offset) {
  wanted_.store(offset, std::memory_order_seq_cst);
}

void RecordBell::ring() const {
  const std::uint64_t once = 1;
  [[maybe_unused]] const ssize_t put = ::write(event_fd_, &once, sizeof once);
}

void RecordBell::run() {
  ::pthread_setname_np(::pthread_self(), "mxring-bell");
  LogEnd end(directory_fd_);
  WakePage page(directory_fd_);
  Offset rung_for = 0;
  while (!stopping_.load(std::memory_order_seq_cst)) {
    const std::uint32_t word = page.word();
    end.refresh();
    const Offset wanted = wanted_.load(std::memory_order_seq_cst);
    // Trouble, or an end that went back: whoever reads finds out.
    const bool news =
        end.offset() > wanted || end.trouble() || (end.sure() && end.offset() < wanted);
    if (news && (end.offset() != rung_for || end.offset() > wanted)) ring();
    rung_for = end.offset();
    if (stopping_.load(std::memory_order_seq_cst)) break;
    if (!end.live() || !page.wait(word, kWaitNs)) {
      for (int i = 0; i < 10 && !stopping_.load(std::memory_order_seq_cst); ++i) {
        std::this_thread::sleep_for(kPoll / 10);
      }
    }
  }
  ended_.store(true, std::memory_order_release);
}

}  // namespace mxring::seglog
