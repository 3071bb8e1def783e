#include "seglog/wake_page.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstddef>
#include <ctime>

#include "seglog/format.h"
#include "seglog/log_directory.h"

namespace mxring::seglog {

namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;

const std::uint32_t* word_of(const char* page) {
  return reinterpret_cast<const std::uint32_t*>(page + offsetof(StateFields, sequence));
}

}  // namespace

WakePage::~WakePage() {
  unmap();
}

void WakePage::unmap() {
  if (page_ != nullptr) ::munmap(const_cast<char*>(page_), kStateBytes);
  page_ = nullptr;
}

void WakePage::map() {
  struct stat status {};
  if (::fstatat(directory_fd_, kStateName, &status, 0) != 0) return unmap();
  if (page_ != nullptr && status.st_ino == inode_) return;
  unmap();
  const ReadFile file = ReadFile::open_at(directory_fd_, kStateName);
  // Whole, so that looking at it cannot fault; the writer never makes it shorter.
  if (!file.is_open() || ::fstat(file.fd(), &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) < kStateBytes) {
    return;
  }
  void* page = ::mmap(nullptr, kStateBytes, PROT_READ, MAP_SHARED, file.fd(), 0);
  if (page == MAP_FAILED) return;
  page_ = static_cast<const char*>(page);
  inode_ = status.st_ino;
}

std::uint32_t WakePage::word() {
  map();
  return word_of_mapped().value_or(0);
}

std::optional<std::uint32_t> WakePage::word_of_mapped() const {
  if (page_ == nullptr) return std::nullopt;
  // Pairs with the writer's release store of the sequence: what it published before is seen after.
  return __atomic_load_n(word_of(page_), __ATOMIC_ACQUIRE);
}

bool WakePage::wakes() const {
  if (page_ == nullptr) return false;
  const auto* flags = reinterpret_cast<const std::uint64_t*>(page_ + offsetof(StateFields, flags));
  return (__atomic_load_n(flags, __ATOMIC_RELAXED) & kStateWakes) != 0;
}

bool WakePage::wait(std::uint32_t word, std::int64_t at_most_ns) {
  if (!wakes()) return false;
  const timespec timeout{at_most_ns / kNsPerSecond, at_most_ns % kNsPerSecond};
  ::syscall(SYS_futex, word_of(page_), FUTEX_WAIT, word, &timeout, nullptr, 0);
  return true;
}

void WakePage::wake_waiters() const {
  if (page_ != nullptr)
    ::syscall(SYS_futex, word_of(page_), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace mxring::seglog
