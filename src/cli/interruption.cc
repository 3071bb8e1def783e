#include "cli/interruption.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

#include "base/assert.h"

namespace mxring::cli {

namespace {

// Where the handler writes; read by it alone, and set before it is installed.
std::atomic<int> write_end{-1};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int) {
  const int saved = errno;
  const int fd = write_end.load(std::memory_order_relaxed);
  // A full pipe has said it already.
  if (fd >= 0) [[maybe_unused]]
    const ssize_t written = ::write(fd, "", 1);
  errno = saved;
}

}  // namespace

Interruption::Interruption() {
  int ends[2] = {-1, -1};
  MXRING_ASSERT(write_end.load(std::memory_order_relaxed) == -1);
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;  // then the signals end the process
  read_end_ = ends[0];
  write_end.store(ends[1], std::memory_order_relaxed);
  struct sigaction action {};
  action.sa_handler = on_signal;  // without SA_RESTART: waits end early
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

Interruption::~Interruption() {
  if (read_end_ < 0) return;
  ::signal(SIGINT, SIG_DFL);
  ::signal(SIGTERM, SIG_DFL);
  ::close(write_end.exchange(-1, std::memory_order_relaxed));
  ::close(read_end_);
}

bool Interruption::happened() const {
  pollfd question{read_end_, POLLIN, 0};
  return read_end_ >= 0 && ::poll(&question, 1, 0) > 0;
}

}  // namespace mxring::cli
