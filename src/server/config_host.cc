#include "server/config_host.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/descriptors.h"
#include "base/text.h"
#include "base/units.h"
#include "seglog/file_system.h"
#include "server/config_rules.h"
#include "server/cpu_layout.h"

namespace mxring::server {

namespace {

namespace fs = std::filesystem;

using Findings = std::vector<HostFinding>;

std::size_t shards_of(const Config& config) {
  return lay_out_cpus(read_cpu_facts(), config.shards.count, config.shards.pin).shard_cpus.size();
}

void look_at_memory(const Config& config, Findings& findings) {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return;
  const std::uint64_t host =
      static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
  const std::size_t shards = shards_of(config);
  for (const auto& [key, each] : {std::pair("limits.memory", config.limits.memory_bytes),
                                  std::pair("limits.dns_cache", config.limits.dns_cache_bytes)}) {
    if (each <= host / shards) continue;
    findings.push_back({config.set_at.contains(key),
                        fmt::format("{}{} is {} for each of {}, but this host has {} in all",
                                    place_of(config, key), key, base::format_bytes(each),
                                    base::counted(shards, "shard"), base::format_bytes(host))});
  }
}

void look_at_descriptors(const Config& config, Findings& findings) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max == RLIM_INFINITY) return;
  const std::uint64_t wanted =
      config.limits.connections +
      base::descriptors_kept(shards_of(config),
                             config.listen.smtp.size() + config.listen.smtps.size());
  if (limit.rlim_max >= wanted || !config.set_at.contains("limits.connections")) return;
  findings.push_back(
      {false, fmt::format("{}limits.connections is {}, for which {} files are needed; started from "
                          "here it may open {} (ulimit -Hn), and takes fewer connections",
                          place_of(config, "limits.connections"), config.limits.connections, wanted,
                          limit.rlim_max)});
}

// The folder itself or the nearest above it that is there.
fs::path nearest_existing(fs::path path) {
  std::error_code error;
  while (path.has_relative_path() && !fs::exists(path, error)) path = path.parent_path();
  return path.empty() ? "." : path;
}

void look_at_log(const Config& config, Findings& findings) {
  std::error_code error;
  const fs::path directory = fs::absolute(config.log.dir, error).lexically_normal();
  const auto mistake = [&](std::string_view key, std::string text) {
    findings.push_back(
        {true, fmt::format("{}{}: {}", place_of(config, key), key, std::move(text))});
  };
  const fs::path existing = nearest_existing(directory);
  const std::string shown = base::escaped(existing.string());
  const int fd = ::open(existing.c_str(), O_PATH | O_CLOEXEC);
  if (fd < 0) return mistake("log.dir", fmt::format("{}: {}", shown, std::strerror(errno)));
  struct stat status {};
  const bool folder = ::fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
  const auto unfit = seglog::unfit_file_system(fd);
  const seglog::Space space = seglog::file_system_space(fd);
  ::close(fd);
  if (!folder) return mistake("log.dir", fmt::format("{} is no folder", shown));
  // The server makes the last part of the path, and no more.
  const fs::path parent =
      directory.has_filename() ? directory.parent_path() : directory.parent_path().parent_path();
  if (existing != directory && existing != parent && existing / "" != directory) {
    mistake("log.dir", fmt::format("{} is not there; make it first: mkdir -p {}",
                                   base::escaped(parent.string()), base::escaped(parent.string())));
  }
  if (config.log.sync == SyncMode::kCommit && unfit) {
    mistake("log.dir", fmt::format("{} is on {}, which cannot keep what was acknowledged; put the "
                                   "log on a local disk with ext4 or XFS, or set log.sync = "
                                   "\"none\" for a benchmark",
                                   base::escaped(directory.string()), unfit->name));
  }
  const std::uint64_t reserve = config.log.segment_bytes * config.limits.disk_reserve_segments;
  if (space.total_bytes > 0 && reserve + config.log.segment_bytes > space.total_bytes) {
    mistake("limits.disk_reserve_segments",
            fmt::format("{} segments of {} in reserve and one to write: the file system of log.dir "
                        "has {} in all",
                        config.limits.disk_reserve_segments,
                        base::format_bytes(config.log.segment_bytes),
                        base::format_bytes(space.total_bytes)));
  }
  if (space.total_bytes > 0 && config.log.retain_bytes > space.total_bytes) {
    findings.push_back(
        {false, fmt::format("{}log.retain_bytes is {}, more than the file system of log.dir has "
                            "({}): the disk reserve is reached first, and mail is put off",
                            place_of(config, "log.retain_bytes"),
                            base::format_bytes(config.log.retain_bytes),
                            base::format_bytes(space.total_bytes))});
  }
}

}  // namespace

std::vector<HostFinding> host_findings(const Config& config) {
  Findings findings;
  look_at_memory(config, findings);
  look_at_descriptors(config, findings);
  if (!config.log.dir.empty()) look_at_log(config, findings);
  return findings;
}

}  // namespace mxring::server
