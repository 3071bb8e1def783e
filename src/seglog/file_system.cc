#include "seglog/file_system.h"

#include <sys/statfs.h>
#include <sys/statvfs.h>

namespace mxring::seglog {

namespace {

struct Unfit {
  std::uint32_t magic;  // statfs(2), f_type
  const char* name;
};

constexpr Unfit kUnfit[] = {
    {0x01021994, "tmpfs"},  {0x858458F6, "ramfs"}, {0x794C7630, "overlayfs"}, {0x00006969, "NFS"},
    {0xFF534D42, "CIFS"},   {0xFE534D42, "SMB2"},  {0x0000517B, "SMB"},       {0x65735546, "FUSE"},
    {0x01021997, "9p"},     {0x6B414653, "AFS"},   {0x00C36400, "Ceph"},      {0x47504653, "GPFS"},
    {0x0BD00BD0, "Lustre"}, {0x61756673, "aufs"},
};

}  // namespace

std::optional<std::string> unfit_file_system(int directory_fd) {
  struct statfs status {};
  if (::fstatfs(directory_fd, &status) != 0) return std::nullopt;
  const auto magic = static_cast<std::uint32_t>(status.f_type);
  for (const Unfit& unfit : kUnfit) {
    if (unfit.magic == magic) return unfit.name;
  }
  return std::nullopt;
}

Space file_system_space(int directory_fd) {
  struct statvfs status {};
  if (::fstatvfs(directory_fd, &status) != 0) return {};
  const std::uint64_t block = status.f_frsize;
  return {status.f_bavail * block, status.f_blocks * block};
}

}  // namespace mxring::seglog
