#include "seglog/spare_pool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/assert.h"
#include "base/probe.h"
#include "seglog/log_directory.h"

namespace mxring::seglog {

namespace {

// Large writes from one huge page are few, contiguous pieces for the device: 15 us of CPU per MiB,
// against 45 for 1 MiB at a time from small pages.
constexpr std::uint64_t kChunkBytes = 4 << 20;
constexpr std::uint64_t kHugePageBytes = 2 << 20;
constexpr std::uint64_t kDirectAlign = 4096;  // O_DIRECT: position and size
static_assert(kChunkBytes % kHugePageBytes == 0 && kHugePageBytes % kDirectAlign == 0);
constexpr auto kPause = std::chrono::milliseconds(4);  // between chunks: commits go first
constexpr std::string_view kPrefix = "spare-";
constexpr std::string_view kReady = ".ready";
constexpr std::string_view kInWork = ".tmp";

struct FreeDeleter {
  void operator()(char* bytes) const { std::free(bytes); }
};

bool lacks_room(int error) {
  return error == ENOSPC || error == EDQUOT || error == EFBIG;
}

}  // namespace

SparePool::~SparePool() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  if (!wanted_.empty()) {  // asked for, but the thread never came to it
    ::unlinkat(options_.directory_fd, (wanted_ + std::string(kInWork)).c_str(), 0);
  }
}

std::uint64_t SparePool::cpu_ns() {
  if (!thread_.joinable()) return 0;
  clockid_t clock{};
  timespec used{};
  if (pthread_getcpuclockid(thread_.native_handle(), &clock) != 0) return 0;
  if (clock_gettime(clock, &used) != 0) return 0;
  return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(used.tv_nsec);
}

std::string SparePool::next_name() {
  return std::string(kPrefix) + std::to_string(next_number_++);
}

void SparePool::start() {
  const auto names = list_names(options_.directory_fd);
  for (const std::string& name : names.value_or(std::vector<std::string>{})) {
    if (!name.starts_with(kPrefix)) continue;
    if (!ready_ && name.ends_with(kReady)) {
      struct stat status {};
      auto file = uring::File::open(path(name), O_RDWR, 0640, options_.faults);
      if (file && ::fstat(file->fd(), &status) == 0 &&
          static_cast<std::uint64_t>(status.st_size) == options_.file_bytes &&
          (!options_.write_zeros || is_written_in_place(file->fd()))) {
        MXRING_PROBE("spare: last run's is used");
        ready_ = Spare{std::move(*file), name, options_.file_bytes};
        const std::uint64_t number = std::strtoull(name.c_str() + kPrefix.size(), nullptr, 10);
        next_number_ = std::max(next_number_, number + 1);
        continue;
      }
    }
    if (name.ends_with(kReady) || name.ends_with(kInWork)) {
      MXRING_PROBE("spare: last run's is removed");
      ::unlinkat(options_.directory_fd, name.c_str(), 0);
    }
  }
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

std::expected<Spare, int> SparePool::take(std::uint64_t bytes_min) {
  {
    std::unique_lock lock(mutex_);
    hurry_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !busy_; });
    hurry_ = false;
    const bool none = MXRING_BUGGIFY("no spare is ready", 200);
    if (ready_ && ready_->bytes >= bytes_min && !none) {
      Spare spare = std::move(*ready_);
      ready_.reset();
      return spare;
    }
  }
  MXRING_PROBE("spare: made on the spot");
  auto made = make(std::max(bytes_min, options_.file_bytes));
  const std::lock_guard lock(mutex_);
  note_outcome(made.has_value());
  return made;
}

std::expected<Spare, int> SparePool::make(std::uint64_t bytes) {
  std::string name;
  {
    const std::lock_guard lock(mutex_);
    name = next_name();
  }
  return prepare(name, bytes, nullptr);
}

void SparePool::give_back(Spare spare) {
  const std::lock_guard lock(mutex_);
  if (!ready_ && spare.bytes == options_.file_bytes) {
    MXRING_PROBE("spare: given back");
    ready_ = std::move(spare);
  } else {
    ::unlinkat(options_.directory_fd, spare.name.c_str(), 0);
  }
}

bool SparePool::recycle(const std::string& segment_name) {
  const std::lock_guard lock(mutex_);
  if (ready_ || !wanted_.empty() || busy_) return false;
  const std::string base = next_name();
  const std::string in_work = base + std::string(kInWork);
  if (::renameat(options_.directory_fd, segment_name.c_str(), options_.directory_fd,
                 in_work.c_str()) != 0) {
    return false;
  }
  MXRING_PROBE("spare: a removed segment becomes one");
  wanted_ = base;
  busy_ = true;
  changed_.notify_all();
  return true;
}

std::uint64_t SparePool::reserve(const Space& space) const {
  return std::max(options_.reserve_bytes, space.total_bytes / 100 * options_.reserve_percent);
}

// Asked before anything is written: filling up a disk only to empty it again would take the room
// from everybody else on it for a while. Where the answer is not known, trying tells.
bool SparePool::has_room(std::uint64_t bytes, bool keep_reserve) const {
  const Space space = file_system_space(options_.directory_fd);
  if (space.total_bytes == 0) return true;
  const std::uint64_t keep = keep_reserve ? reserve(space) : 0;
  return space.free_bytes >= keep && space.free_bytes - keep >= bytes;
}

// Remembers what it is for lack of; ENOSPC stands for all of it.
int SparePool::lack_of_room(int error) {
  NoRoom why = NoRoom::kDisk;
  if (error == EDQUOT) why = NoRoom::kQuota;
  if (error == EFBIG) why = NoRoom::kFileSize;
  const Space space = file_system_space(options_.directory_fd);
  if (error == ENOSPC && space.total_files != 0 && space.free_files == 0) why = NoRoom::kFiles;
  no_room_.store(why, std::memory_order_relaxed);  // a word for people, guards nothing
  return ENOSPC;
}

NoRoom SparePool::no_room() {
  return no_room_.load(std::memory_order_relaxed);
}

bool SparePool::is_ready() {
  const std::lock_guard lock(mutex_);
  return ready_.has_value() || busy_;
}

bool SparePool::can_take(std::uint64_t bytes) {
  {
    const std::lock_guard lock(mutex_);
    if (ready_ || busy_) return true;  // what is in work had room left beside the reserve
  }
  return has_room(bytes, true);
}

void SparePool::note_outcome(bool succeeded) {
  if (succeeded) {
    wait_ns_ = retry_at_ns_ = 0;
    return;
  }
  MXRING_PROBE("spare: it cannot be made");
  wait_ns_ = wait_ns_ == 0 ? options_.retry_first_ns : wait_ns_ * 2;
  wait_ns_ = std::min(wait_ns_, options_.retry_max_ns);
  retry_at_ns_ = base::read_clocks().mono.ns + wait_ns_;
}

void SparePool::refill() {
  const std::lock_guard lock(mutex_);
  if (ready_ || busy_ || !wanted_.empty()) return;
  if (wait_ns_ != 0 && base::read_clocks().mono.ns < retry_at_ns_) return;
  if (!has_room(options_.file_bytes, true)) {
    MXRING_PROBE("spare: no room beside the reserve");
    return;
  }
  wanted_ = next_name();
  busy_ = true;
  changed_.notify_all();
}

void SparePool::run(const std::stop_token& stop) {
  pthread_setname_np(pthread_self(), "mxring-segments");
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !wanted_.empty(); })) {
    const std::string name = wanted_;
    lock.unlock();
    auto spare = prepare(name, options_.file_bytes, &stop);
    lock.lock();
    // On failure nothing is kept: the next take() tries by itself and reports why it cannot.
    note_outcome(spare.has_value());
    MXRING_ASSERT(busy_ && wanted_ == name);
    if (spare) ready_ = std::move(*spare);
    wanted_.clear();
    busy_ = false;
    changed_.notify_all();
    if (stop.stop_requested()) break;
  }
  busy_ = false;
  changed_.notify_all();
}

// The names and blocks of a spare become durable by the syncs here or, at the latest, by those of
// the segment it turns into; no promise hangs on them. They do not pass the fault seam as writes
// and syncs, so that the counts a fault plan goes by are those of the committing thread alone.
std::expected<Spare, int> SparePool::prepare(const std::string& name, std::uint64_t bytes,
                                             const std::stop_token* stop) {
  const std::string in_work = name + std::string(kInWork);
  const std::string ready = name + std::string(kReady);
  auto file = uring::File::open(path(in_work), O_RDWR | O_CREAT, 0640, options_.faults);
  if (!file) {
    return std::unexpected(lacks_room(file.error()) ? lack_of_room(file.error()) : file.error());
  }
  int error = 0;
  if (options_.write_zeros && !is_written_in_place(file->fd())) {
    // Of an older run, or of a directory that has lost its flag: only an empty file can be changed.
    const bool plain = file->truncate(0) && write_in_place(file->fd(), path(in_work));
    if (!plain) error = EOPNOTSUPP;
  }
  struct stat status {};
  if (error == 0 && ::fstat(file->fd(), &status) != 0) error = errno;
  const auto there = static_cast<std::uint64_t>(status.st_size);
  const std::uint64_t from = align_up(there, kDirectAlign);
  const bool ahead = stop != nullptr;  // nobody needs it yet
  if (error == 0 && there < bytes && !has_room(bytes - there, ahead)) error = ENOSPC;
  if (error == 0 && there < bytes) {
    // Zeros first: writing into blocks that were merely allocated costs twice as much.
    if (options_.write_zeros) error = write_zeros(path(in_work), from, bytes, stop);
    if (error == 0) {
      const auto allocated = file->allocate(there, bytes - there);
      if (!allocated && allocated.error() != EOPNOTSUPP) {
        error = allocated.error();
      } else if (!allocated && !options_.write_zeros) {
        error = write_zeros(path(in_work), from, bytes, stop);
      }
    }
  } else if (error == 0 && there > bytes) {
    const auto cut = file->truncate(bytes);
    if (!cut) error = cut.error();
  }
  if (error == 0 && options_.write_zeros && ::fdatasync(file->fd()) != 0) error = errno;
  if (error == 0 && ::renameat(options_.directory_fd, in_work.c_str(), options_.directory_fd,
                               ready.c_str()) != 0) {
    error = errno;
  }
  // A recycled file must have lost its old name for good before its content changes.
  if (error == 0 && options_.write_zeros && ::fsync(options_.directory_fd) != 0) error = errno;
  if (error != 0) {
    ::unlinkat(options_.directory_fd, in_work.c_str(), 0);
    return std::unexpected(lacks_room(error) ? lack_of_room(error) : error);
  }
  return Spare{std::move(*file), ready, bytes};
}

int SparePool::write_zeros(const std::string& path, std::uint64_t from, std::uint64_t bytes,
                           const std::stop_token* stop) {
  MXRING_ASSERT(from % kDirectAlign == 0);
  const std::unique_ptr<char, FreeDeleter> zeros(
      static_cast<char*>(std::aligned_alloc(kHugePageBytes, kChunkBytes)));
  if (!zeros) return ENOMEM;
  ::madvise(zeros.get(), kChunkBytes, MADV_HUGEPAGE);
  std::memset(zeros.get(), 0, kChunkBytes);
  // Past the page cache: half the CPU, and the cache keeps what readers want.
  int fd = ::open(path.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC);
  if (fd < 0) fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  bool direct = true;
  int error = 0;
  for (std::uint64_t at = from; at < bytes && error == 0;) {
    const std::uint64_t size = std::min(kChunkBytes, bytes - at);
    const ssize_t written = ::pwrite(fd, zeros.get(), size, static_cast<off_t>(at));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EINVAL && direct) {  // the file system only pretends to know it
      if (::fcntl(fd, F_SETFL, 0) != 0) error = EINVAL;
      direct = false;
      continue;
    }
    if (written <= 0) error = written < 0 ? errno : ENOSPC;
    if (written > 0) at += static_cast<std::uint64_t>(written);
    if (stop == nullptr || error != 0) continue;
    if (stop->stop_requested()) {
      MXRING_PROBE("spare: stopped in the middle");
      error = ECANCELED;
    }
    std::unique_lock lock(mutex_);
    if (!hurry_) changed_.wait_for(lock, *stop, kPause, [this] { return hurry_; });
  }
  ::close(fd);
  return error;
}

}  // namespace mxring::seglog
