#include "seglog/lock_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace mxring::seglog {

std::expected<LockFile, LockFile::Refusal> LockFile::acquire(int directory_fd) {
  LockFile lock;
  lock.file_ = ReadFile(::openat(directory_fd, kLockName, O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (!lock.file_.is_open()) return std::unexpected(Refusal{errno, {}});
  const int fd = lock.file_.fd();
  struct flock request {};
  request.l_type = F_WRLCK;
  request.l_whence = SEEK_SET;
  if (::fcntl(fd, F_OFD_SETLK, &request) != 0) {
    if (errno != EAGAIN && errno != EACCES) return std::unexpected(Refusal{errno, {}});
    Refusal refusal;
    char text[24];
    const std::int64_t got = read_fully(fd, text, sizeof text, 0);
    for (std::int64_t i = 0; i < got && text[i] >= '0' && text[i] <= '9'; ++i) {
      refusal.holder_pid.push_back(text[i]);
    }
    return std::unexpected(std::move(refusal));
  }
  // The text is for people; a lock without it is as good.
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(fd, 0) == 0) {
    [[maybe_unused]] const ssize_t written = ::pwrite(fd, pid.data(), pid.size(), 0);
  }
  return lock;
}

}  // namespace mxring::seglog
