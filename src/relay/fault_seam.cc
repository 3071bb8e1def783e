#include "relay/fault_seam.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/owned_fd.h"

namespace mxring::relay::seam {

namespace {

struct Plan {
  enum class Kind : std::uint8_t { kNone, kKill, kFail, kCount } kind = Kind::kNone;
  std::uint64_t at = 0;
  int error = 0;
  std::string file;
};

Plan read_plan() {
  const char* text = std::getenv("MXRING_RELAY_FAULT");
  if (text == nullptr) return {};
  const std::string_view word(text);
  Plan plan;
  char* end = nullptr;
  if (word.starts_with("kill:")) {
    plan.kind = Plan::Kind::kKill;
    plan.at = std::strtoull(text + 5, &end, 10);
  } else if (word.starts_with("fail:")) {
    plan.kind = Plan::Kind::kFail;
    plan.at = std::strtoull(text + 5, &end, 10);
    plan.error = *end == ':' ? std::atoi(end + 1) : EIO;
  } else if (word.starts_with("count:")) {
    plan.kind = Plan::Kind::kCount;
    plan.file = word.substr(6);
  }
  return plan;
}

const Plan& plan() {
  static const Plan made = read_plan();
  return made;
}

std::uint64_t count = 0;

}  // namespace

std::uint64_t steps() {
  return count;
}

bool step() {
  ++count;
  const Plan& wanted = plan();
  if (wanted.kind == Plan::Kind::kNone) [[likely]]
    return true;
  if (wanted.kind == Plan::Kind::kCount) {
    const base::OwnedFd fd(
        ::open(wanted.file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    const std::string text = std::to_string(count);
    (void)!::write(fd.get(), text.data(), text.size());
    return true;
  }
  if (count != wanted.at) return true;
  if (wanted.kind == Plan::Kind::kKill) {
    ::kill(::getpid(), SIGKILL);
    ::pause();
  }
  errno = wanted.error;
  return false;
}

ssize_t write(int fd, std::string_view bytes) {
  return step() ? ::write(fd, bytes.data(), bytes.size()) : -1;
}

ssize_t send(int fd, std::string_view bytes) {
  return step() ? ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
}

int fsync(int fd) {
  return step() ? ::fsync(fd) : -1;
}

int fdatasync(int fd) {
  return step() ? ::fdatasync(fd) : -1;
}

int syncfs(int fd) {
  return step() ? ::syncfs(fd) : -1;
}

int rename(int from_fd, const char* from, int to_fd, const char* to) {
  return step() ? ::renameat(from_fd, from, to_fd, to) : -1;
}

int unlink(int folder_fd, const char* name) {
  return step() ? ::unlinkat(folder_fd, name, 0) : -1;
}

}  // namespace mxring::relay::seam
