#include "relay/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "base/owned_fd.h"
#include "base/text.h"
#include "relay/fault_seam.h"

namespace mxring::relay {

std::expected<std::string, std::string> read_small_file(const std::string& path,
                                                        std::size_t bytes_max) {
  const auto failure = [&](const std::string& why) {
    return std::unexpected(fmt::format("{}: {}", base::escaped(path), why));
  };
  const base::OwnedFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return failure(std::system_category().message(errno));
  std::string text(bytes_max + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return failure(std::system_category().message(errno));
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > bytes_max) return failure(fmt::format("larger than {} bytes", bytes_max));
  text.resize(size);
  return text;
}

std::expected<void, int> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t wrote = seam::write(fd, bytes);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) return std::unexpected(errno);
    bytes.remove_prefix(static_cast<std::size_t>(wrote));
  }
  return {};
}

std::expected<void, int> write_whole(int folder_fd, const std::string& name, std::string_view bytes,
                                     unsigned mode) {
  const std::string beside = name + ".new";
  {
    const base::OwnedFd fd(::openat(folder_fd, beside.c_str(),
                                    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
    if (!fd.valid()) return std::unexpected(errno);
    if (auto wrote = write_all(fd.get(), bytes); !wrote) return wrote;
    if (seam::fsync(fd.get()) != 0) return std::unexpected(errno);
  }
  if (seam::rename(folder_fd, beside.c_str(), folder_fd, name.c_str()) != 0) {
    return std::unexpected(errno);
  }
  return {};
}

void write_hint(int folder_fd, const std::string& name, std::string_view bytes, unsigned mode) {
  const std::string beside = name + ".new";
  const base::OwnedFd fd(::openat(folder_fd, beside.c_str(),
                                  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd.valid()) return;
  const ssize_t wrote = ::write(fd.get(), bytes.data(), bytes.size());
  if (wrote == static_cast<ssize_t>(bytes.size())) {
    (void)::renameat(folder_fd, beside.c_str(), folder_fd, name.c_str());
  }
}

}  // namespace mxring::relay
