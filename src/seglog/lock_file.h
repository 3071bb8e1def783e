// The one-writer rule: an open-file-description lock (Linux 3.15) on LOCK, kept as long as the
// object lives and released by the kernel when the process dies. Readers ask lock_is_held().
#pragma once

#include <expected>
#include <string>

#include "seglog/log_directory.h"

namespace mxring::seglog {

class LockFile {
 public:
  struct Refusal {
    int error = 0;           // errno; 0 when another process holds the lock
    std::string holder_pid;  // as it wrote it; empty when unknown
  };
  static std::expected<LockFile, Refusal> acquire(int directory_fd);

 private:
  ReadFile file_;
};

}  // namespace mxring::seglog
