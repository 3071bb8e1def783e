// Why a file could not be made as large as it must be.
#pragma once

#include <cstdint>

namespace mxring::seglog {

enum class NoRoom : std::uint8_t {
  kDisk,      // the file system is full, or would be
  kFiles,     // it has room, and no inodes
  kQuota,     // EDQUOT
  kFileSize,  // EFBIG: the limit on the size of files
};

}  // namespace mxring::seglog
