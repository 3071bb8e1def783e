// What a commit costs on the log's file system: writes into blocks written before and makes them
// durable, the way the log does, at several batch sizes. 32 MiB and a few seconds at most; the
// files have no name from the moment they are made, so nothing is left behind whatever happens.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/clock.h"
#include "base/units.h"
#include "tune/measure.h"

namespace mxring::tune {

namespace {

constexpr std::uint64_t kFileBytes = 16ULL << 20;
constexpr std::uint64_t kDirtyBytes = 16ULL << 20;
constexpr std::uint64_t kFreeWantedBytes = 256ULL << 20;
constexpr std::uint64_t kBatches[] = {4ULL << 10, 16ULL << 10, 64ULL << 10, 256ULL << 10,
                                      1ULL << 20};
constexpr std::uint32_t kCommitsMax = 100;
constexpr std::uint32_t kCommitsMin = 5;
constexpr std::int64_t kBatchTimeNs = 300 * base::kNsPerMs;
constexpr std::int64_t kPrepareTimeNs = 3 * base::kNsPerSecond;

std::int64_t mono_ns() {
  return base::read_clocks().mono.ns;
}

class NamelessFile {
 public:
  explicit NamelessFile(const std::string& directory) {
    std::string path = directory + "/.mxring-tune-XXXXXX";
    fd_ = ::mkostemp(path.data(), O_CLOEXEC);
    if (fd_ >= 0) ::unlink(path.c_str());
  }
  NamelessFile(const NamelessFile&) = delete;
  NamelessFile& operator=(const NamelessFile&) = delete;
  ~NamelessFile() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }

  bool write(std::uint64_t at, const std::string& bytes) const {
    return ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(at)) ==
           static_cast<ssize_t>(bytes.size());
  }

 private:
  int fd_ = -1;
};

// Commits of one size one after the other; their times in order.
std::vector<std::int64_t> commit_times(const NamelessFile& file, std::uint64_t batch_bytes,
                                       std::uint32_t commits_max, std::int64_t time_ns) {
  const std::string batch(batch_bytes, 'm');
  std::vector<std::int64_t> times;
  const std::int64_t end = mono_ns() + time_ns;
  for (std::uint64_t at = 0; times.size() < commits_max; at = (at + batch_bytes) % kFileBytes) {
    const std::int64_t begin = mono_ns();
    if (begin >= end && times.size() >= kCommitsMin) break;
    if (!file.write(at, batch) || ::fdatasync(file.fd()) != 0) return {};
    times.push_back(mono_ns() - begin);
  }
  std::ranges::sort(times);
  return times;
}

bool prepare(const NamelessFile& file, std::string& problem) {
  const std::string zeros(1 << 20, '\0');
  const std::int64_t end = mono_ns() + kPrepareTimeNs;
  for (std::uint64_t at = 0; at < kFileBytes; at += zeros.size()) {
    if (!file.write(at, zeros)) {
      problem = fmt::format("writing {} failed: {}", base::format_bytes(kFileBytes),
                            std::strerror(errno));
      return false;
    }
    if (mono_ns() > end) {
      problem = fmt::format("the disk took longer than {} for {}",
                            base::format_duration(kPrepareTimeNs), base::format_bytes(at));
      return false;
    }
  }
  if (::fdatasync(file.fd()) == 0) return true;
  problem = fmt::format("fdatasync failed: {}", std::strerror(errno));
  return false;
}

}  // namespace

void measure_commits(const MeasureOptions& options, Measured& out) {
  if (options.free_bytes < kFreeWantedBytes) {
    out.commits_skipped =
        fmt::format("less than {} free there", base::format_bytes(kFreeWantedBytes));
    return;
  }
  const NamelessFile file(options.directory);
  if (file.fd() < 0) {
    out.commits_skipped =
        fmt::format("no file can be made in {}: {}", options.directory, std::strerror(errno));
    return;
  }
  if (!prepare(file, out.commits_skipped)) return;
  for (const std::uint64_t batch_bytes : kBatches) {
    const auto times = commit_times(file, batch_bytes, kCommitsMax, kBatchTimeNs);
    if (times.empty()) {
      out.commits_skipped = fmt::format("a commit failed: {}", std::strerror(errno));
      return;
    }
    out.commits.push_back({batch_bytes, static_cast<std::uint32_t>(times.size()),
                           times[times.size() / 2], times[(times.size() - 1) * 99 / 100]});
  }

  // Somebody else's bytes, waiting to be written back; they are gone with their file.
  const NamelessFile other(options.directory);
  if (other.fd() < 0) return;
  const std::string bytes(1 << 20, 'd');
  for (std::uint64_t at = 0; at < kDirtyBytes; at += bytes.size()) {
    if (!other.write(at, bytes)) return;
  }
  const auto times = commit_times(file, kBatches[0], 20, kBatchTimeNs);
  if (!times.empty()) out.commit_beside_dirty_ns = times[times.size() / 2];
}

}  // namespace mxring::tune
