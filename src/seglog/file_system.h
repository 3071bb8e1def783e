// What kind of file system a directory is on, and how much room there is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace mxring::seglog {

// The name of a file system that cannot keep the promise "durable when committed" (tmpfs, overlay,
// network, FUSE), or nothing when the directory is on one that can.
std::optional<std::string> unfit_file_system(int directory_fd);

struct Space {
  std::uint64_t free_bytes = 0;  // for this user
  std::uint64_t total_bytes = 0;
};
Space file_system_space(int directory_fd);

}  // namespace mxring::seglog
