#include "uring/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>
#include <utility>
#include <vector>

#include "base/assert.h"
#include "base/clock.h"

namespace mxring::uring {

namespace {

void sleep_for(std::int64_t ns) {
  timespec left{ns / base::kNsPerSecond, ns % base::kNsPerSecond};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

// Asks the plan about one operation; sleeps when a rule says so.
FaultRule consult(FaultPlan* faults, FaultPoint point) {
  if (faults == nullptr) return {};
  FaultRule rule = faults->next(point).value_or(FaultRule{});
  if (rule.delay_ns > 0) sleep_for(rule.delay_ns);
  return rule;
}

template <class Describe>
void trace(FaultPlan* faults, FaultPoint point, Describe&& describe) {
  if (faults == nullptr || !faults->tracing()) return;
  faults->record(fmt::format("{} {}", name(point), describe()));
}

std::string outcome(int error) {
  return error == 0 ? std::string("ok") : fmt::format("errno {}", error);
}

std::expected<void, int> as_result(int error) {
  if (error != 0) return std::unexpected(error);
  return {};
}

// The leading slices that hold no more than `bytes_max` bytes, the last one cut to fit.
std::vector<iovec> shortened(std::span<const iovec> slices, std::uint64_t bytes_max) {
  std::vector<iovec> kept;
  for (iovec slice : slices) {
    if (bytes_max == 0) break;
    slice.iov_len = static_cast<std::size_t>(std::min<std::uint64_t>(slice.iov_len, bytes_max));
    bytes_max -= slice.iov_len;
    kept.push_back(slice);
  }
  return kept;
}

ssize_t write_slices(int fd, std::span<const iovec> slices, std::uint64_t position) {
  ssize_t written = 0;
  do {
    written =
        ::pwritev(fd, slices.data(), static_cast<int>(slices.size()), static_cast<off_t>(position));
  } while (written < 0 && errno == EINTR);  // EINTR is only reported when nothing was written
  return written;
}

}  // namespace

File::File(File&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), faults_(std::exchange(other.faults_, nullptr)) {}

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
    faults_ = std::exchange(other.faults_, nullptr);
  }
  return *this;
}

File::~File() {
  close();
}

std::expected<File, int> File::open(const std::string& path, int flags, unsigned mode,
                                    FaultPlan* faults) {
  int error = consult(faults, FaultPoint::kFileOpen).error;
  int fd = -1;
  if (error == 0) {
    do {
      fd = ::open(path.c_str(), flags | O_CLOEXEC, static_cast<mode_t>(mode));
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) error = errno;
  }
  trace(faults, FaultPoint::kFileOpen,
        [&] { return fmt::format("{} -> {}", path, outcome(error)); });
  if (error != 0) return std::unexpected(error);
  File file;
  file.fd_ = fd;
  file.faults_ = faults;
  return file;
}

std::expected<std::uint64_t, int> File::write_at(std::span<const iovec> slices,
                                                 std::uint64_t position) {
  MXRING_ASSERT(slices.size() <= IOV_MAX);
  const FaultRule rule = consult(faults_, FaultPoint::kFileWrite);
  ssize_t written = -1;
  int error = rule.error;
  if (error == 0) {
    if (rule.shorten_to == ~0ULL) {
      written = write_slices(fd_, slices, position);
    } else {
      written = write_slices(fd_, shortened(slices, rule.shorten_to), position);
    }
    if (written < 0) error = errno;
  }
  trace(faults_, FaultPoint::kFileWrite, [&] {
    std::uint64_t asked = 0;
    for (const iovec& slice : slices) asked += slice.iov_len;
    return fmt::format("{} at {} -> {}", asked, position,
                       error == 0 ? fmt::format("{}", written) : outcome(error));
  });
  if (error != 0) return std::unexpected(error);
  return static_cast<std::uint64_t>(written);
}

std::expected<void, int> File::sync_data() {
  int error = consult(faults_, FaultPoint::kFileSync).error;
  if (error == 0 && ::fdatasync(fd_) != 0) error = errno;
  trace(faults_, FaultPoint::kFileSync, [&] { return "data -> " + outcome(error); });
  return as_result(error);
}

std::expected<void, int> File::sync_all() {
  int error = consult(faults_, FaultPoint::kFileSync).error;
  if (error == 0 && ::fsync(fd_) != 0) error = errno;
  trace(faults_, FaultPoint::kFileSync, [&] { return "all -> " + outcome(error); });
  return as_result(error);
}

std::expected<void, int> File::allocate(std::uint64_t position, std::uint64_t bytes) {
  int error = consult(faults_, FaultPoint::kFileAllocate).error;
  if (error == 0) {
    // fallocate(2) itself, not posix_fallocate(3): a file system without it answers EOPNOTSUPP,
    // where the C library would write a byte into every block.
    int result = 0;
    do {
      result = ::fallocate(fd_, 0, static_cast<off_t>(position), static_cast<off_t>(bytes));
    } while (result != 0 && errno == EINTR);  // asking again for the same range is harmless
    if (result != 0) error = errno;
  }
  trace(faults_, FaultPoint::kFileAllocate,
        [&] { return fmt::format("{} at {} -> {}", bytes, position, outcome(error)); });
  return as_result(error);
}

std::expected<void, int> File::truncate(std::uint64_t bytes) {
  int result = 0;
  do {
    result = ::ftruncate(fd_, static_cast<off_t>(bytes));
  } while (result != 0 && errno == EINTR);
  return as_result(result == 0 ? 0 : errno);
}

void File::close() {
  if (fd_ < 0) return;
  // Not retried: on Linux the descriptor is gone whatever close(2) answers, and what the answer
  // could say about written data has been asked for by sync_data() already.
  ::close(fd_);
  fd_ = -1;
}

}  // namespace mxring::uring
