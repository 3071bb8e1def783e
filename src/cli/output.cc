#include "cli/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "cli/command.h"

namespace mxring::cli {

namespace {

constexpr std::size_t kGatherBytes = 256 * 1024;

}  // namespace

std::size_t output_columns() {
  if (isatty(STDOUT_FILENO) != 1) return 0;
  const char* columns = std::getenv("COLUMNS");
  const long number = columns == nullptr ? 0 : std::strtol(columns, nullptr, 10);
  if (number > 0) return static_cast<std::size_t>(number);
  winsize size{};
  const bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : 80;
}

Output::Output(int stop_fd) : stop_fd_(stop_fd) {
  std::signal(SIGPIPE, SIG_IGN);
  struct stat status {};
  if (stop_fd_ >= 0 && ::fstat(STDOUT_FILENO, &status) == 0 && S_ISFIFO(status.st_mode)) {
    own_fd_ = ::open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  }
}

Output::~Output() {
  flush();
  if (own_fd_ >= 0) ::close(own_fd_);
}

bool Output::write(std::string_view bytes) {
  if (!going()) return false;
  if (bytes.size() >= kGatherBytes) return flush() && write_through(bytes);
  pending_ += bytes;
  return pending_.size() < kGatherBytes || flush();
}

bool Output::flush() {
  const bool done = write_through(pending_);
  pending_.clear();
  return done;
}

// What must not block is written to a pipe of our own opening, or in pieces that a pipe, socket or
// terminal with room takes whole.
long Output::write_some(std::string_view bytes) {
  if (own_fd_ >= 0) return ::write(own_fd_, bytes.data(), bytes.size());
  if (stop_fd_ >= 0) bytes = bytes.substr(0, PIPE_BUF);
  return ::write(STDOUT_FILENO, bytes.data(), bytes.size());
}

void Output::also_read(int fd, std::function<void()> ready) {
  also_fd_ = fd;
  also_ready_ = std::move(ready);
}

// False when it is time to stop.
bool Output::wait_for_room() {
  // Descriptors below 0 are passed over.
  pollfd wait[3] = {{STDOUT_FILENO, POLLOUT, 0}, {stop_fd_, POLLIN, 0}, {also_fd_, POLLIN, 0}};
  (void)::poll(wait, 3, -1);
  if (wait[2].revents != 0) {
    const bool ended = (wait[2].revents & POLLIN) == 0;
    also_ready_();
    if (ended) also_fd_ = -1;  // once is enough: it would be ready for ever
  }
  stopped_ = wait[1].revents != 0 && (wait[0].revents & POLLOUT) == 0;
  return !stopped_;
}

bool Output::write_through(std::string_view bytes) {
  while (!bytes.empty() && going()) {
    if (stop_fd_ >= 0 && own_fd_ < 0 && !wait_for_room()) break;
    const long wrote = write_some(bytes);
    if (wrote >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
    } else if (errno == EPIPE) {
      gone_ = true;
    } else if (errno == EAGAIN) {
      // Ours, or somebody made the terminal or pipe non-blocking; wait for room.
      wait_for_room();
    } else if (errno != EINTR) {
      failed_ = true;
      complain(fmt::format("cannot write to standard output: {}", std::strerror(errno)));
    }
  }
  return going();
}

bool Output::reader_gone() {
  pollfd probe{STDOUT_FILENO, 0, 0};
  if (::poll(&probe, 1, 0) > 0 && (probe.revents & POLLERR) != 0) gone_ = true;
  return gone_;
}

}  // namespace mxring::cli
