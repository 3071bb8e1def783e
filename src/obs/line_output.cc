#include "obs/line_output.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

#include "base/assert.h"

namespace mxring::obs {

namespace {

// Ignored unless somebody asks for it, and nobody here asks for out-of-band data.
constexpr int kInterrupt = SIGURG;
constexpr std::size_t kKeepBytes = 64 << 10;

bool is_socket(int fd) {
  struct stat of {};
  return ::fstat(fd, &of) == 0 && S_ISSOCK(of.st_mode);
}

}  // namespace

LineOutput::LineOutput(int fd) : fd_(fd), socket_(is_socket(fd)) {}

void LineOutput::redirect(int fd) {
  fd_ = fd;
  socket_ = is_socket(fd);
}

LineOutput::Flushed LineOutput::flush(int wait_ms) {
  while (pending() != 0) {
    pollfd waiting{fd_, POLLOUT, 0};
    const int found = ::poll(&waiting, 1, wait_ms);
    if (found == 0 || (found < 0 && errno == EINTR)) return Flushed::kLater;
    const std::size_t size = std::min<std::size_t>(pending(), PIPE_BUF);
    const char* from = bytes_.data() + written_;
    const ssize_t wrote =
        socket_ ? ::send(fd_, from, size, MSG_DONTWAIT | MSG_NOSIGNAL) : ::write(fd_, from, size);
    if (wrote < 0 && (errno == EINTR || errno == EAGAIN)) return Flushed::kLater;
    // A full disk may have room again; a reader that has gone does not come back.
    if (wrote < 0 && (errno == ENOSPC || errno == EDQUOT)) {
      ::poll(nullptr, 0, wait_ms);
      return Flushed::kLater;
    }
    if (wrote < 0) {
      bytes_.clear();
      written_ = 0;
      return Flushed::kBroken;
    }
    written_ += static_cast<std::size_t>(wrote);
    MXRING_ASSERT(written_ <= bytes_.size());
    wait_ms = 0;
  }
  bytes_.clear();
  written_ = 0;
  if (bytes_.capacity() > kKeepBytes) bytes_.shrink_to_fit();
  return Flushed::kAll;
}

void LineOutput::prepare_interrupts() {
  struct sigaction action {};
  action.sa_handler = [](int) {};  // without SA_RESTART: the call ends with EINTR
  ::sigaction(kInterrupt, &action, nullptr);
}

void LineOutput::interrupt(pthread_t thread) {
  ::pthread_kill(thread, kInterrupt);
}

}  // namespace mxring::obs
