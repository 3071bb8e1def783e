#include "cli/ack_input.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <utility>

namespace mxring::cli {

namespace {

constexpr std::size_t kLineMax = 64;  // an offset has 19 digits at most

bool readable() {
  pollfd question{STDIN_FILENO, POLLIN, 0};
  return ::poll(&question, 1, 0) > 0;
}

}  // namespace

void AckInput::take() {
  char bytes[4096];
  while (!ended_ && bad_line_.empty() && readable()) {
    const ssize_t got = ::read(STDIN_FILENO, bytes, sizeof bytes);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) return;
    if (got <= 0) {
      ended_ = true;
      if (!pending_.empty()) take_line(std::exchange(pending_, {}));
      return;
    }
    pending_.append(bytes, static_cast<std::size_t>(got));
    std::size_t begin = 0;
    for (std::size_t end; (end = pending_.find('\n', begin)) != std::string::npos;
         begin = end + 1) {
      take_line(pending_.substr(begin, end - begin));
    }
    pending_.erase(0, begin);
    if (pending_.size() > kLineMax) take_line(std::exchange(pending_, {}));
  }
}

void AckInput::take_line(std::string line) {
  if (line.ends_with('\r')) line.pop_back();
  std::uint64_t offset = 0;
  const char* end = line.data() + line.size();
  const auto parsed = std::from_chars(line.data(), end, offset);
  if (parsed.ec != std::errc() || parsed.ptr != end || offset == UINT64_MAX) {
    if (bad_line_.empty()) bad_line_ = line.empty() ? "(an empty line)" : line.substr(0, kLineMax);
    return;
  }
  next_ = std::max(next_.value_or(0), offset + 1);
}

std::optional<std::uint64_t> AckInput::take_next() {
  return std::exchange(next_, std::nullopt);
}

}  // namespace mxring::cli
