#include "cli/output.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>

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

Output::Output() {
  std::signal(SIGPIPE, SIG_IGN);
}

bool Output::write(std::string_view bytes) {
  if (gone_ || failed_) return false;
  if (bytes.size() >= kGatherBytes) return flush() && write_through(bytes);
  pending_ += bytes;
  return pending_.size() < kGatherBytes || flush();
}

bool Output::flush() {
  const bool done = write_through(pending_);
  pending_.clear();
  return done;
}

bool Output::write_through(std::string_view bytes) {
  while (!bytes.empty() && !gone_ && !failed_) {
    const ssize_t wrote = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
    if (wrote >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(wrote));
    } else if (errno == EPIPE) {
      gone_ = true;
    } else if (errno == EAGAIN) {
      // Somebody made the terminal or pipe non-blocking; wait for room.
      pollfd wait{STDOUT_FILENO, POLLOUT, 0};
      (void)::poll(&wait, 1, -1);
    } else if (errno != EINTR) {
      failed_ = true;
      complain(fmt::format("cannot write to standard output: {}", std::strerror(errno)));
    }
  }
  return !gone_ && !failed_;
}

bool Output::reader_gone() {
  pollfd probe{STDOUT_FILENO, 0, 0};
  if (::poll(&probe, 1, 0) > 0 && (probe.revents & POLLERR) != 0) gone_ = true;
  return gone_;
}

}  // namespace mxring::cli
