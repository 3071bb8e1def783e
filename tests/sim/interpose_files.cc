// Files below /sim.
#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <set>
#include <string>

#include "tests/sim/disk.h"
#include "tests/sim/interpose.h"

namespace mxring::sim {
ssize_t read_descriptor(Descriptor& descriptor, char* to, std::size_t size);
ssize_t write_descriptor(Descriptor& descriptor, std::string_view bytes);
}  // namespace mxring::sim

using namespace mxring::sim;

namespace {

struct Listing {
  std::vector<std::string> names;
  std::size_t at = 0;
  int fd = -1;
  struct dirent entry {};
};
std::set<void*> g_listings;
std::map<void*, bool> g_mappings;

Disk& disk() {
  return World::current()->disk();
}

// Where an open directory is: the path it was opened by.
std::map<const Inode*, std::string> g_paths;

// The whole path when it is a simulated one; "" else.
std::string path_of(int directory_fd, const char* path) {
  if (World::current() == nullptr) return {};
  if (path[0] == '/') {
    std::string whole = Disk::normal(path);
    return Disk::is_ours(whole) ? whole : std::string();
  }
  const Descriptor* descriptor = directory_fd == AT_FDCWD ? nullptr : simulated(directory_fd);
  if (descriptor == nullptr || descriptor->file == nullptr) return {};
  return Disk::normal(g_paths[descriptor->file->inode.get()] + "/" + path);
}

OpenFile* file_of(int fd) {
  Descriptor* descriptor = simulated(fd);
  return descriptor == nullptr ? nullptr : descriptor->file.get();
}

void fill(const Inode& inode, struct stat* out) {
  std::memset(out, 0, sizeof *out);
  out->st_dev = 0x5151;
  out->st_ino = inode.number;
  out->st_mode = (inode.directory ? S_IFDIR : S_IFREG) | inode.mode;
  out->st_nlink = 1;
  out->st_uid = ::geteuid();
  out->st_gid = ::getegid();
  out->st_size = static_cast<off_t>(inode.size);
  out->st_blksize = kPageBytes;
  out->st_blocks = static_cast<blkcnt_t>((inode.size + 511) / 512);
  out->st_mtim = {inode.changed_us / 1'000'000, inode.changed_us % 1'000'000 * 1000};
  out->st_ctim = out->st_mtim;
}

int open_simulated(const std::string& path, int flags, unsigned mode) {
  std::shared_ptr<OpenFile> file;
  World::current()->maybe_yield(30);
  if (const int error = disk().open(path, flags, mode, &file); error < 0) return answer(error);
  if (file->inode->directory) g_paths[file->inode.get()] = path;
  Descriptor made;
  made.file = std::move(file);
  return World::current()->net().add(std::move(made));
}

int stat_path(const std::string& path, struct stat* out) {
  const InodePtr inode = disk().find(path);
  if (inode == nullptr) return answer(-ENOENT);
  fill(*inode, out);
  return 0;
}

int open_any(int directory_fd, const char* path, int flags, unsigned mode) {
  const std::string whole = path_of(directory_fd, path);
  if (!whole.empty() && World::in_fiber()) return open_simulated(whole, flags, mode);
  const std::string_view name = path;
  if (World::current() != nullptr && (name == "/dev/urandom" || name == "/dev/random")) {
    Descriptor made;
    made.random = true;
    return World::current()->net().add(std::move(made));
  }
  return MXRING_SIM_REAL(openat)(directory_fd, path, flags, mode);
}

int lock_call(OpenFile& file, int command, struct flock* lock) {
  if (command == F_OFD_GETLK || command == F_GETLK) {
    if (!disk().is_locked(file, *file.inode)) lock->l_type = F_UNLCK;
    return 0;
  }
  return disk().lock(file, lock->l_type == F_WRLCK) ? 0 : answer(-EAGAIN);
}

int control(int fd, int command, long argument) {
  Descriptor* descriptor = simulated(fd);
  switch (command) {
    case F_OFD_SETLK:
    case F_OFD_GETLK:
    case F_SETLK:
    case F_GETLK:
      return lock_call(*descriptor->file, command, reinterpret_cast<struct flock*>(argument));
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return World::current()->net().add(Descriptor(*descriptor));
    case F_GETFL:
      return O_RDWR | O_NONBLOCK;
    default:
      return 0;
  }
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const unsigned mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, unsigned) : 0;
  va_end(list);
  return open_any(AT_FDCWD, path, flags, mode);
}
int open64(const char* path, int flags, ...) __attribute__((alias("open")));
int __open_2(const char* path, int flags) {
  return open_any(AT_FDCWD, path, flags, 0);
}
int __open64_2(const char* path, int flags) __attribute__((alias("__open_2")));

int openat(int directory_fd, const char* path, int flags, ...) {
  va_list list;
  va_start(list, flags);
  const unsigned mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(list, unsigned) : 0;
  va_end(list);
  return open_any(directory_fd, path, flags, mode);
}
int openat64(int directory_fd, const char* path, int flags, ...) __attribute__((alias("openat")));
int __openat_2(int directory_fd, const char* path, int flags) {
  return open_any(directory_fd, path, flags, 0);
}
int __openat64_2(int directory_fd, const char* path, int flags)
    __attribute__((alias("__openat_2")));

int close(int fd) {
  if (simulated(fd) == nullptr) {
    if (fd >= kFirstDescriptor && World::current() != nullptr) {
      convict("descriptor " + std::to_string(fd) + " is closed, but it is not open");
    }
    return MXRING_SIM_REAL(close)(fd);
  }
  World::current()->net().close(fd);
  return 0;
}

ssize_t read(int fd, void* to, size_t size) {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(read)(fd, to, size);
  if (descriptor->random) return ::getentropy(to, size) == 0 ? static_cast<ssize_t>(size) : -1;
  if (descriptor->file == nullptr) {
    return answer(read_descriptor(*descriptor, static_cast<char*>(to), size));
  }
  OpenFile& file = *descriptor->file;
  const std::int64_t got = disk().read(file, file.position, static_cast<char*>(to), size);
  if (got > 0) file.position += static_cast<std::uint64_t>(got);
  return answer(got);
}
ssize_t __read_chk(int fd, void* to, size_t size, size_t) {
  return read(fd, to, size);
}

ssize_t write(int fd, const void* from, size_t size) {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(write)(fd, from, size);
  const std::string_view bytes{static_cast<const char*>(from), size};
  if (descriptor->file == nullptr) return answer(write_descriptor(*descriptor, bytes));
  OpenFile& file = *descriptor->file;
  const std::int64_t put = disk().write(file, file.position, bytes);
  if (put > 0) file.position += static_cast<std::uint64_t>(put);
  return answer(put);
}

ssize_t pread(int fd, void* to, size_t size, off_t at) {
  OpenFile* file = file_of(fd);
  if (file == nullptr) return MXRING_SIM_REAL(pread)(fd, to, size, at);
  return answer(disk().read(*file, static_cast<std::uint64_t>(at), static_cast<char*>(to), size));
}
ssize_t pread64(int fd, void* to, size_t size, off64_t at) __attribute__((alias("pread")));
ssize_t __pread_chk(int fd, void* to, size_t size, off_t at, size_t) {
  return pread(fd, to, size, at);
}
ssize_t __pread64_chk(int fd, void* to, size_t size, off64_t at, size_t)
    __attribute__((alias("__pread_chk")));

ssize_t pwrite(int fd, const void* from, size_t size, off_t at) {
  OpenFile* file = file_of(fd);
  if (file == nullptr) return MXRING_SIM_REAL(pwrite)(fd, from, size, at);
  World::current()->maybe_yield(30);
  return answer(
      disk().write(*file, static_cast<std::uint64_t>(at), {static_cast<const char*>(from), size}));
}
ssize_t pwrite64(int fd, const void* from, size_t size, off64_t at)
    __attribute__((alias("pwrite")));

ssize_t pwritev(int fd, const iovec* slices, int count, off_t at) {
  OpenFile* file = file_of(fd);
  if (file == nullptr) return MXRING_SIM_REAL(pwritev)(fd, slices, count, at);
  World::current()->maybe_yield(100);
  std::string whole;
  for (int i = 0; i < count; ++i) {
    whole.append(static_cast<const char*>(slices[i].iov_base), slices[i].iov_len);
  }
  // A write may be short at any place.
  Dice& dice = World::current()->dice();
  if (whole.size() > 1 && dice.permille(20)) whole.resize(1 + dice.below(whole.size() - 1));
  return answer(disk().write(*file, static_cast<std::uint64_t>(at), whole));
}
ssize_t pwritev64(int fd, const iovec* slices, int count, off64_t at)
    __attribute__((alias("pwritev")));

int fsync(int fd) {
  OpenFile* file = file_of(fd);
  if (file == nullptr) return MXRING_SIM_REAL(fsync)(fd);
  World::current()->maybe_yield(200);
  return answer(disk().sync(*file));
}
int fdatasync(int fd) {
  if (file_of(fd) == nullptr) return MXRING_SIM_REAL(fdatasync)(fd);
  return fsync(fd);
}

int ftruncate(int fd, off_t size) noexcept {
  OpenFile* file = file_of(fd);
  if (file == nullptr) return MXRING_SIM_REAL(ftruncate)(fd, size);
  return answer(disk().truncate(*file, static_cast<std::uint64_t>(size)));
}
int ftruncate64(int fd, off64_t size) noexcept __attribute__((alias("ftruncate")));

int fallocate(int fd, int mode, off_t at, off_t bytes) {
  OpenFile* file = file_of(fd);
  if (file == nullptr) return MXRING_SIM_REAL(fallocate)(fd, mode, at, bytes);
  return answer(
      disk().allocate(*file, static_cast<std::uint64_t>(at), static_cast<std::uint64_t>(bytes)));
}
int fallocate64(int fd, int mode, off64_t at, off64_t bytes) __attribute__((alias("fallocate")));

int fstat(int fd, struct stat* out) noexcept {
  Descriptor* descriptor = simulated(fd);
  if (descriptor == nullptr) return MXRING_SIM_REAL(fstat)(fd, out);
  if (descriptor->file == nullptr) return answer(-EINVAL);
  fill(*descriptor->file->inode, out);
  return 0;
}
int fstat64(int fd, struct stat64* out) noexcept {
  return fstat(fd, reinterpret_cast<struct stat*>(out));
}
int stat(const char* path, struct stat* out) noexcept {
  const std::string whole = path_of(AT_FDCWD, path);
  return whole.empty() ? MXRING_SIM_REAL(stat)(path, out) : stat_path(whole, out);
}
int stat64(const char* path, struct stat64* out) noexcept {
  return stat(path, reinterpret_cast<struct stat*>(out));
}
int lstat(const char* path, struct stat* out) noexcept {
  const std::string whole = path_of(AT_FDCWD, path);
  return whole.empty() ? MXRING_SIM_REAL(lstat)(path, out) : stat_path(whole, out);
}
int lstat64(const char* path, struct stat64* out) noexcept {
  return lstat(path, reinterpret_cast<struct stat*>(out));
}
int fstatat(int directory_fd, const char* path, struct stat* out, int flags) noexcept {
  const std::string whole = path_of(directory_fd, path);
  if (whole.empty()) return MXRING_SIM_REAL(fstatat)(directory_fd, path, out, flags);
  return stat_path(whole, out);
}
int fstatat64(int directory_fd, const char* path, struct stat64* out, int flags) noexcept {
  return fstatat(directory_fd, path, reinterpret_cast<struct stat*>(out), flags);
}

int access(const char* path, int mode) noexcept {
  const std::string whole = path_of(AT_FDCWD, path);
  if (whole.empty()) return MXRING_SIM_REAL(access)(path, mode);
  return disk().find(whole) != nullptr ? 0 : answer(-ENOENT);
}
int faccessat(int directory_fd, const char* path, int mode, int flags) noexcept {
  const std::string whole = path_of(directory_fd, path);
  if (whole.empty()) return MXRING_SIM_REAL(faccessat)(directory_fd, path, mode, flags);
  return disk().find(whole) != nullptr ? 0 : answer(-ENOENT);
}

int renameat2(int from_fd, const char* from, int to_fd, const char* to, unsigned flags) noexcept {
  const std::string whole = path_of(from_fd, from);
  if (whole.empty()) return MXRING_SIM_REAL(renameat2)(from_fd, from, to_fd, to, flags);
  return answer(disk().rename(whole, path_of(to_fd, to), (flags & RENAME_NOREPLACE) == 0));
}
int renameat(int from_fd, const char* from, int to_fd, const char* to) noexcept {
  if (path_of(from_fd, from).empty()) return MXRING_SIM_REAL(renameat)(from_fd, from, to_fd, to);
  return renameat2(from_fd, from, to_fd, to, 0);
}
int unlinkat(int directory_fd, const char* path, int flags) noexcept {
  const std::string whole = path_of(directory_fd, path);
  if (whole.empty()) return MXRING_SIM_REAL(unlinkat)(directory_fd, path, flags);
  return answer(disk().unlink(whole));
}
int mkdir(const char* path, mode_t mode) noexcept {
  const std::string whole = path_of(AT_FDCWD, path);
  if (whole.empty()) return MXRING_SIM_REAL(mkdir)(path, mode);
  return answer(disk().make_directory(whole, mode));
}
int mkdirat(int directory_fd, const char* path, mode_t mode) noexcept {
  const std::string whole = path_of(directory_fd, path);
  if (whole.empty()) return MXRING_SIM_REAL(mkdirat)(directory_fd, path, mode);
  return answer(disk().make_directory(whole, mode));
}
int fchmodat(int directory_fd, const char* path, mode_t mode, int flags) noexcept {
  if (!path_of(directory_fd, path).empty()) return 0;
  return MXRING_SIM_REAL(fchmodat)(directory_fd, path, mode, flags);
}

DIR* fdopendir(int fd) {
  OpenFile* file = file_of(fd);
  if (file == nullptr) return MXRING_SIM_REAL(fdopendir)(fd);
  auto* listing = new Listing;
  listing->names = {".", ".."};
  for (const auto& [name, inode] : file->inode->names) listing->names.push_back(name);
  listing->fd = fd;
  // In no particular order, as on a real disk.
  Dice& dice = World::current()->dice();
  for (std::size_t i = listing->names.size(); i > 1; --i) {
    std::swap(listing->names[i - 1], listing->names[dice.below(i)]);
  }
  g_listings.insert(listing);
  return reinterpret_cast<DIR*>(listing);
}
dirent* readdir(DIR* directory) {
  if (!g_listings.contains(directory)) return MXRING_SIM_REAL(readdir)(directory);
  auto& listing = *reinterpret_cast<Listing*>(directory);
  if (listing.at == listing.names.size()) return nullptr;
  std::snprintf(listing.entry.d_name, sizeof listing.entry.d_name, "%s",
                listing.names[listing.at++].c_str());
  listing.entry.d_type = DT_UNKNOWN;
  return &listing.entry;
}
struct dirent64* readdir64(DIR* directory) {
  return reinterpret_cast<struct dirent64*>(readdir(directory));
}
int closedir(DIR* directory) {
  if (g_listings.erase(directory) == 0) return MXRING_SIM_REAL(closedir)(directory);
  auto* listing = reinterpret_cast<Listing*>(directory);
  const int fd = listing->fd;
  delete listing;
  return close(fd);
}

int fcntl(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  const long argument = va_arg(list, long);
  va_end(list);
  if (simulated(fd) == nullptr) return MXRING_SIM_REAL(fcntl)(fd, command, argument);
  return control(fd, command, argument);
}
int fcntl64(int fd, int command, ...) {
  va_list list;
  va_start(list, command);
  const long argument = va_arg(list, long);
  va_end(list);
  if (simulated(fd) == nullptr) return MXRING_SIM_REAL(fcntl)(fd, command, argument);
  return control(fd, command, argument);
}

int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list list;
  va_start(list, request);
  const long argument = va_arg(list, long);
  va_end(list);
  if (simulated(fd) != nullptr) return answer(-ENOTTY);
  return MXRING_SIM_REAL(ioctl)(fd, request, argument);
}

int fstatfs(int fd, struct statfs* out) noexcept {
  if (file_of(fd) == nullptr) return MXRING_SIM_REAL(fstatfs)(fd, out);
  std::memset(out, 0, sizeof *out);
  out->f_type = 0xEF53;  // ext4
  out->f_bsize = kPageBytes;
  return 0;
}
int fstatfs64(int fd, struct statfs64* out) noexcept {
  return fstatfs(fd, reinterpret_cast<struct statfs*>(out));
}
int fstatvfs(int fd, struct statvfs* out) noexcept {
  if (file_of(fd) == nullptr) return MXRING_SIM_REAL(fstatvfs)(fd, out);
  std::memset(out, 0, sizeof *out);
  const std::uint64_t used = disk().used();
  out->f_frsize = out->f_bsize = kPageBytes;
  out->f_blocks = disk().capacity / kPageBytes;
  out->f_bfree = out->f_bavail = (disk().capacity - std::min(used, disk().capacity)) / kPageBytes;
  out->f_files = 1'000'000;
  out->f_ffree = out->f_favail = 999'000;
  return 0;
}
int fstatvfs64(int fd, struct statvfs64* out) noexcept {
  return fstatvfs(fd, reinterpret_cast<struct statvfs*>(out));
}
int posix_fadvise(int fd, off_t at, off_t bytes, int advice) noexcept {
  if (OpenFile* file = file_of(fd); file != nullptr && advice == POSIX_FADV_DONTNEED) {
    disk().drop_cache(*file->inode);
  }
  if (simulated(fd) != nullptr) return 0;
  return MXRING_SIM_REAL(posix_fadvise)(fd, at, bytes, advice);
}
int posix_fadvise64(int fd, off64_t at, off64_t bytes, int advice) noexcept
    __attribute__((alias("posix_fadvise")));

void* mmap(void* address, size_t bytes, int protection, int flags, int fd, off_t at) noexcept {
  OpenFile* file = fd < 0 ? nullptr : file_of(fd);
  if (file == nullptr) {
    return MXRING_SIM_REAL(mmap)(address, bytes, protection, flags, fd, at);
  }
  if (bytes > kPageBytes || at != 0) {
    errno = ENODEV;
    return MAP_FAILED;
  }
  void* memory = disk().map(*file);
  g_mappings[memory] = true;
  return memory;
}
void* mmap64(void* address, size_t bytes, int protection, int flags, int fd, off64_t at) noexcept
    __attribute__((alias("mmap")));
int munmap(void* address, size_t bytes) noexcept {
  if (g_mappings.contains(address)) return 0;
  return MXRING_SIM_REAL(munmap)(address, bytes);
}

}  // extern "C"
