#include "net/unix_listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace mxring::net {

namespace {

constexpr int kBacklog = 128;

ListenError failed(const std::string& path, int error, std::string_view why) {
  return {error, fmt::format("cannot listen on unix:{}: {}", path, why)};
}

// Somebody accepts connections there.
bool is_alive(const UnixName& name) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return true;
  const bool alive = ::connect(fd, name.address(), UnixName::size()) == 0 || errno == EAGAIN;
  ::close(fd);
  return alive;
}

}  // namespace

std::expected<UnixName, int> UnixName::of(const std::string& path) {
  UnixName name;
  name.name_.sun_family = AF_UNIX;
  if (path.empty() || path.find('\0') != path.npos) return std::unexpected(EINVAL);
  std::string shown = path;
  if (path.size() >= sizeof name.name_.sun_path) {
    const std::size_t slash = path.rfind('/');
    if (slash == path.npos) return std::unexpected(ENAMETOOLONG);
    name.folder_fd_ = ::open(path.substr(0, slash + 1).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (name.folder_fd_ < 0) return std::unexpected(errno);
    shown = fmt::format("/proc/self/fd/{}{}", name.folder_fd_, path.substr(slash));
  }
  if (shown.size() >= sizeof name.name_.sun_path) return std::unexpected(ENAMETOOLONG);
  shown.copy(name.name_.sun_path, shown.size());
  return name;
}

UnixName::UnixName(UnixName&& other) noexcept
    : name_(other.name_), folder_fd_(std::exchange(other.folder_fd_, -1)) {}

UnixName::~UnixName() {
  if (folder_fd_ >= 0) ::close(folder_fd_);
}

std::expected<UnixListener, ListenError> UnixListener::open(const std::string& path) {
  const auto name = UnixName::of(path);
  if (!name) return std::unexpected(failed(path, name.error(), std::strerror(name.error())));
  struct stat there {};
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode)) {
      return std::unexpected(failed(path, EEXIST, "there is a file of this name"));
    }
    if (is_alive(*name)) {
      return std::unexpected(failed(path, EADDRINUSE, "another program listens there"));
    }
    ::unlink(path.c_str());
  }
  UnixListener listener;
  listener.fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (listener.fd_ < 0) return std::unexpected(failed(path, errno, std::strerror(errno)));
  // The mode is set before the name exists: fchmod on a socket that is not bound yet decides it.
  if (::fchmod(listener.fd_, 0600) != 0 ||
      ::bind(listener.fd_, name->address(), UnixName::size()) != 0) {
    return std::unexpected(failed(path, errno, std::strerror(errno)));
  }
  listener.path_ = path;
  if (::lstat(path.c_str(), &there) == 0) {
    listener.device_ = there.st_dev;
    listener.inode_ = there.st_ino;
  }
  if (::listen(listener.fd_, kBacklog) != 0) {
    return std::unexpected(failed(path, errno, std::strerror(errno)));
  }
  return listener;
}

UnixListener::UnixListener(UnixListener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

UnixListener& UnixListener::operator=(UnixListener&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

UnixListener::~UnixListener() {
  if (fd_ < 0) return;
  ::close(fd_);
  struct stat there {};
  if (!path_.empty() && ::lstat(path_.c_str(), &there) == 0 && there.st_dev == device_ &&
      there.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

}  // namespace mxring::net
