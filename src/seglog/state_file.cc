#include "seglog/state_file.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "base/assert.h"

namespace mxring::seglog {

namespace {

// Readers are woken no more often: with 2,000 commits a second and four readers, waking them for
// each costs the writer and every reader more than all the rest.
constexpr std::int64_t kWakeEveryNs = 2'000'000;
constexpr int kReadTries = 1000;  // a change takes nanoseconds; a dead writer's never ends

bool read_at(int fd, void* bytes, std::size_t size, off_t position) {
  ssize_t got = 0;
  do {
    got = ::pread(fd, bytes, size, position);
  } while (got < 0 && errno == EINTR);
  return got == static_cast<ssize_t>(size);
}

}  // namespace

std::optional<StateFields> read_state(int fd) {
  for (int attempt = 0; attempt < kReadTries; ++attempt) {
    StateFields fields;
    std::uint64_t sequence_after = 0;
    if (!read_at(fd, &fields, sizeof fields, 0)) return std::nullopt;
    if (!read_at(fd, &sequence_after, sizeof sequence_after, offsetof(StateFields, sequence))) {
      return std::nullopt;
    }
    const bool steady = fields.sequence % 2 == 0 && fields.sequence == sequence_after;
    if (steady && fields.magic == kStateMagic && state_crc(fields) == fields.crc) {
      return fields.durable <= kOffsetMax ? std::optional(fields) : std::nullopt;
    }
    if (fields.magic != kStateMagic) return std::nullopt;
    if (steady && attempt > 2) return std::nullopt;  // nobody is changing it: it is damaged
    sched_yield();
  }
  return std::nullopt;
}

StatePage::~StatePage() {
  if (words_ != nullptr) ::munmap(words_, kStateBytes);
}

std::expected<void, int> StatePage::open(int directory_fd) {
  const int fd = ::openat(directory_fd, kStateName, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (fd < 0) return std::unexpected(errno);
  found_ = read_state(fd);
  if (!found_) {
    // Really written, not only made longer: a store into a page that has no block behind it would
    // end the process with SIGBUS when the disk is full.
    char page[kStateBytes] = {};
    ssize_t written = 0;
    do {
      written = ::pwrite(fd, page, sizeof page, 0);
    } while (written < 0 && errno == EINTR);
    if (written != static_cast<ssize_t>(sizeof page)) {
      const int error = written < 0 ? errno : ENOSPC;
      ::close(fd);
      return std::unexpected(error);
    }
  } else {
    sequence_ = found_->sequence;
  }
  void* address = ::mmap(nullptr, kStateBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = errno;
  ::close(fd);  // the mapping keeps the file
  if (address == MAP_FAILED) return std::unexpected(error);
  MXRING_ASSERT(words_ == nullptr);
  words_ = static_cast<Words*>(address);
  return {};
}

void StatePage::publish(const StateFields& fields) {
  if (words_ == nullptr) return;
  StateFields next = fields;
  MXRING_ASSERT(fields.durable <= kOffsetMax);
  next.magic = kStateMagic;
  MXRING_ASSERT(sequence_ % 2 == 0);  // nobody reads a change that is half done
  next.sequence = sequence_ + 2;
  next.crc = state_crc(next);
  std::uint64_t image[8];
  std::memcpy(image, &next, sizeof next);
  // A seqlock. Each field's release store comes after the odd sequence, and the even sequence's
  // release store after all fields; read_state() pairs with both by comparing the sequence around
  // its copy, and the CRC covers a copy the kernel made in another order.
  words_->word[1].store(sequence_ + 1, std::memory_order_relaxed);
  words_->word[0].store(image[0], std::memory_order_release);
  for (int i = 2; i < 8; ++i) words_->word[i].store(image[i], std::memory_order_release);
  words_->word[1].store(next.sequence, std::memory_order_release);
  sequence_ = next.sequence;
  unsaid_ = true;
}

std::int64_t StatePage::wake_readers(std::int64_t now_ns) {
  if (words_ == nullptr || !unsaid_) return 0;
  MXRING_ASSERT(now_ns >= last_wake_ns_);
  const std::int64_t due_ns = last_wake_ns_ + kWakeEveryNs;
  if (last_wake_ns_ != 0 && now_ns < due_ns) return due_ns - now_ns;
  last_wake_ns_ = now_ns;
  wake_readers_at_once();
  return 0;
}

void StatePage::wake_readers_at_once() {
  if (words_ == nullptr) return;
  MXRING_ASSERT(sequence_ % 2 == 0);  // nobody is woken in the middle of a change
  unsaid_ = false;
  // The lower half of the sequence: what readers wait on. Not private: they are other processes.
  ::syscall(SYS_futex, &words_->word[1], FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

}  // namespace mxring::seglog
