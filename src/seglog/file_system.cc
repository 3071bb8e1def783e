#include "seglog/file_system.h"

#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include <cerrno>
#include <system_error>

namespace mxring::seglog {

namespace {

constexpr const char* kForgets = "cannot promise that what was synced survives a crash";
constexpr const char* kCopies =
    "writes every block to a new place, so that room set aside for the log is no promise";

struct Unfit {
  std::uint32_t magic;  // statfs(2), f_type
  const char* name;
  const char* why;
};

constexpr Unfit kUnfit[] = {
    {0x01021994, "tmpfs", kForgets},     {0x858458F6, "ramfs", kForgets},
    {0x794C7630, "overlayfs", kForgets}, {0x00006969, "NFS", kForgets},
    {0xFF534D42, "CIFS", kForgets},      {0xFE534D42, "SMB2", kForgets},
    {0x0000517B, "SMB", kForgets},       {0x65735546, "FUSE", kForgets},
    {0x01021997, "9p", kForgets},        {0x6B414653, "AFS", kForgets},
    {0x5346414F, "AFS", kForgets},       {0x00C36400, "Ceph", kForgets},
    {0x47504653, "GPFS", kForgets},      {0x0BD00BD0, "Lustre", kForgets},
    {0x61756673, "aufs", kForgets},      {0x786F4256, "vboxsf", kForgets},
    {0x0000564C, "NCP", kForgets},       {0x73757245, "Coda", kForgets},
    {0x7461636F, "OCFS2", kForgets},     {0x01161970, "GFS2", kForgets},
    {0x2FC12FC1, "ZFS", kCopies},        {0xCA451A4E, "bcachefs", kCopies},
    {0xF2F52010, "F2FS", kCopies},       {0x00003434, "NILFS2", kCopies},
    {0x24051905, "UBIFS", kCopies},      {0x000072B6, "JFFS2", kCopies},
};

constexpr std::uint32_t kBtrfsMagic = 0x9123683E;

std::uint32_t type_of(int fd) {
  struct statfs status {};
  return ::fstatfs(fd, &status) == 0 ? static_cast<std::uint32_t>(status.f_type) : 0;
}

}  // namespace

std::optional<UnfitFileSystem> unfit_file_system_type(std::uint32_t magic) {
  for (const Unfit& unfit : kUnfit) {
    if (unfit.magic == magic) return UnfitFileSystem{unfit.name, unfit.why};
  }
  return std::nullopt;
}

std::optional<UnfitFileSystem> unfit_file_system(int directory_fd) {
  return unfit_file_system_type(type_of(directory_fd));
}

bool is_written_in_place(int fd) {
  int flags = 0;
  return type_of(fd) != kBtrfsMagic ||
         (::ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 && (flags & FS_NOCOW_FL) != 0);
}

std::expected<void, std::string> write_in_place(int fd, const std::string& name) {
  if (is_written_in_place(fd)) return {};
  int flags = 0;
  if (::ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
    flags |= FS_NOCOW_FL;
    if (::ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0) return {};
  }
  return std::unexpected(
      "is on btrfs, where the log must be written in place, and that cannot be "
      "had: " +
      std::system_category().message(errno) +
      "; as root, while the directory is empty: chattr +C " + name);
}

Space file_system_space(int directory_fd) {
  struct statvfs status {};
  if (::fstatvfs(directory_fd, &status) != 0) return {};
  const std::uint64_t block = status.f_frsize;
  return {status.f_bavail * block, status.f_blocks * block, status.f_favail, status.f_files};
}

}  // namespace mxring::seglog
