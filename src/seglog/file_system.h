// What kind of file system a directory is on, and how much room there is.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

namespace mxring::seglog {

// A file system that cannot keep the promise "durable when committed": it forgets, it asks somebody
// else, or it never writes where it wrote before, so that a block set aside for the log is no
// promise that it can be written.
struct UnfitFileSystem {
  std::string name;
  std::string why;  // "which ..."
};
// By statfs(2)'s f_type; nothing: fit.
std::optional<UnfitFileSystem> unfit_file_system_type(std::uint32_t magic);
// Nothing also when the directory is on btrfs: see write_in_place().
std::optional<UnfitFileSystem> unfit_file_system(int directory_fd);

// On btrfs: files made in the directory `fd` from here on, or the empty file `fd` itself, shall be
// written in place (FS_NOCOW_FL). Does nothing elsewhere. The text says why that failed.
std::expected<void, std::string> write_in_place(int fd, const std::string& name);
// Whether this file is, or the file system writes all of them so.
bool is_written_in_place(int fd);

struct Space {
  std::uint64_t free_bytes = 0;  // for this user
  std::uint64_t total_bytes = 0;
  std::uint64_t free_files = 0;
  std::uint64_t total_files = 0;  // 0: not counted here
};
Space file_system_space(int directory_fd);

}  // namespace mxring::seglog
