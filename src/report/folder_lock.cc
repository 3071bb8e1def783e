#include "report/folder_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace mxring::report {

std::expected<FolderLock, std::string> FolderLock::take(const std::filesystem::path& folder) {
  // The parent of a file in the working directory is "".
  const std::string name = folder.empty() ? "." : folder.string();
  const int fd = ::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return std::unexpected(fmt::format("{}: {}", base::escaped(name), std::strerror(errno)));
  }
  FolderLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  return std::unexpected(
      errno == EWOULDBLOCK
          ? fmt::format("{}: another `mxring report` is at work there", base::escaped(name))
          : fmt::format("{}: cannot be locked: {}", base::escaped(name), std::strerror(errno)));
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace mxring::report
