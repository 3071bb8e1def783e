// One command at a time works in a folder of reports: two that sent from it at once would each
// deliver everything. The kernel lets go of the lock when the process ends, however it ends.
//
// Thread: any. Failure: a line for a person.
#pragma once

#include <expected>
#include <filesystem>
#include <string>
#include <utility>

namespace mxring::report {

class FolderLock {
 public:
  static std::expected<FolderLock, std::string> take(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FolderLock& operator=(FolderLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}

  int fd_;
};

}  // namespace mxring::report
