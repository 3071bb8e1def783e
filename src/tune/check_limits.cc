// What this process, its user and its cgroup may use.
#include <fmt/format.h>

#include <algorithm>

#include "base/descriptors.h"
#include "base/units.h"
#include "tune/check.h"

namespace mxring::tune {

namespace {

constexpr std::uint64_t kUnlimited = ~0ULL;
constexpr unsigned kCapNetBindService = 10;

std::string limit_text(std::uint64_t value) {
  return value == kUnlimited ? "unlimited" : fmt::format("{}", value);
}

void check_descriptors(const CheckInput& input, std::vector<Row>& rows) {
  const std::uint64_t kept = base::descriptors_kept(
      std::max<std::size_t>(input.receiver.shard_cpus.size(), 1), input.receiver.listen.size());
  const std::uint64_t wanted = input.receiver.connections + kept;
  Row row = make_row("limits", "open files",
                     "a connection is a descriptor; without one newcomers wait in the backlog");
  row.wanted = fmt::format("at least {} (hard)", wanted);
  const auto limit = input.host.process_limit("Max open files");
  if (!limit) {
    skip(row, "/proc/self/limits does not say");
  } else {
    // `serve` raises its soft limit to the hard one.
    row.current = fmt::format("{} (hard)", limit_text(limit->hard));
    if (limit->hard < wanted) {
      row.verdict = Verdict::kAdvice;
      row.fix = fmt::format(
          "ulimit -n {} as root in the shell that starts it, or a lower "
          "limits.connections",
          wanted);
      row.persist = fmt::format("LimitNOFILE={} in the unit", wanted);
      row.undo = fmt::format("LimitNOFILE={}", limit_text(limit->hard));
      row.effect =
          fmt::format("counted: room for {} connections of {}",
                      limit->hard - std::min(kept, limit->hard / 2), input.receiver.connections);
    }
  }
  rows.push_back(std::move(row));
  rows.push_back(
      sysctl_row(input.host, {"limits", "fs.file-max", static_cast<std::int64_t>(wanted * 2), false,
                              "the host's own bound on open files, over all processes"}));
}

void check_locked_memory(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("limits", "locked memory",
                     "before kernel 5.12 rings count against it; later ones count in the cgroup");
  row.wanted = "8 MiB or more, or a ring that can be made";
  const auto limit = input.host.process_limit("Max locked memory");
  if (!limit) {
    skip(row, "/proc/self/limits does not say");
  } else {
    constexpr std::uint64_t kEnough = 8ULL << 20;
    row.current = limit->soft == kUnlimited ? "unlimited" : base::format_bytes(limit->soft);
    const bool made = input.features.usable && input.measured.ring_problem.empty();
    if (limit->soft < kEnough && !made) {
      row.verdict = Verdict::kProblem;
      row.fix = "ulimit -l unlimited";
      row.persist = "LimitMEMLOCK=infinity in the unit";
      row.undo = fmt::format("LimitMEMLOCK={}", limit_text(limit->soft));
    } else if (made) {
      row.effect = "measured: a shard's ring and buffers can be made under it";
    }
  }
  rows.push_back(std::move(row));
}

void check_low_ports(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("limits", "right to the ports", "port 25 is one that not everybody may open");
  std::uint16_t lowest = 0;
  for (const base::Endpoint& endpoint : input.receiver.listen) {
    if (endpoint.port != 0 && (lowest == 0 || endpoint.port < lowest)) lowest = endpoint.port;
  }
  const auto first = input.host.number("/proc/sys/net/ipv4/ip_unprivileged_port_start");
  const auto capabilities = input.host.field("/proc/self/status", "CapEff");
  row.wanted = lowest == 0 ? "any" : fmt::format("port {} may be opened", lowest);
  if (!capabilities) {
    skip(row, "/proc/self/status does not say");
  } else {
    std::uint64_t bits = 0;
    for (const int bit : parse_cpu_mask(*capabilities)) {
      if (bit < 64) bits |= 1ULL << bit;
    }
    const bool may =
        (bits >> kCapNetBindService & 1) != 0 || lowest >= first.value_or(1024) || lowest == 0;
    row.current = may ? "yes" : fmt::format("ports from {} only", first.value_or(1024));
    if (!may) {
      row.verdict = Verdict::kProblem;
      row.fix =
          "setcap cap_net_bind_service=+ep \"$(command -v mxring)\", or start it from a unit with "
          "AmbientCapabilities=CAP_NET_BIND_SERVICE";
      row.persist = "the unit in tuning/";
      row.undo = "setcap -r \"$(command -v mxring)\"";
      row.effect = "as this user; the receiver's own user may have other rights";
    }
  }
  rows.push_back(std::move(row));
}

std::uint64_t memory_needed(const Receiver& receiver) {
  const std::uint64_t shards = std::max<std::size_t>(receiver.shard_cpus.size(), 1);
  constexpr std::uint64_t kConnectionBytes = 4096;
  constexpr std::uint64_t kProgramBytes = 32ULL << 20;
  return shards * (receiver.memory_bytes + (receiver.asks_dns ? receiver.dns_cache_bytes : 0)) +
         receiver.connections * kConnectionBytes + kProgramBytes;
}

// The smallest memory limit from our cgroup up to the root; nothing when there is none.
std::optional<std::uint64_t> memory_limit(const Host& host, const std::string& folder) {
  std::optional<std::uint64_t> least;
  constexpr std::int64_t kNone = std::int64_t{1} << 60;  // the older kind says "none" with a number
  std::string at = folder;
  while (at.starts_with("/sys/fs/cgroup")) {
    for (const char* name : {"/memory.max", "/memory.high", "/memory.limit_in_bytes"}) {
      const auto value = host.number(at + name);
      if (!value || *value <= 0 || *value >= kNone) continue;
      least = std::min(least.value_or(kUnlimited), static_cast<std::uint64_t>(*value));
    }
    at.resize(at.rfind('/'));
  }
  return least;
}

void check_cgroup_memory(const CheckInput& input, std::vector<Row>& rows) {
  const std::uint64_t needed = memory_needed(input.receiver);
  Row row = make_row("limits", "cgroup memory",
                     "above its limit the kernel ends the process: messages in flight are refused "
                     "again by their senders, nothing acknowledged is lost, but the service stops");
  row.wanted = fmt::format("none, or {} or more", base::format_bytes(needed));
  const auto folder = input.host.cgroup_folder("memory");
  if (!folder) {
    skip(row, "no cgroup of this process can be seen");
  } else if (const auto limit = memory_limit(input.host, *folder); !limit) {
    row.current = "no limit";
  } else {
    row.current = base::format_bytes(*limit);
    if (*limit < needed) {
      row.verdict = Verdict::kProblem;
      row.fix = fmt::format("raise the limit to {}, or lower limits.memory and shards.count",
                            base::format_bytes(needed));
      row.persist = fmt::format("MemoryMax={} in the unit", needed);
      row.undo = fmt::format("MemoryMax={}", *limit);
      row.effect = "computed from the configuration: messages in flight and DNS caches full";
    }
  }
  rows.push_back(std::move(row));
}

// Cores by quota; 0 when there is none.
double quota_cores(const Host& host, const std::string& folder) {
  if (const auto unified = host.text(folder + "/cpu.max")) {
    const auto words = split_words(*unified);
    const auto quota = words.empty() ? std::nullopt : leading_number(words[0]);
    const auto period = words.size() < 2 ? std::nullopt : leading_number(words[1]);
    if (quota && period && *period > 0) {
      return static_cast<double>(*quota) / static_cast<double>(*period);
    }
    return 0;
  }
  const auto quota = host.number(folder + "/cpu.cfs_quota_us");
  const auto period = host.number(folder + "/cpu.cfs_period_us");
  if (!quota || *quota <= 0 || !period || *period <= 0) return 0;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

void check_cgroup_processor(const CheckInput& input, std::vector<Row>& rows) {
  Row row =
      make_row("limits", "cgroup processor time",
               "a quota stops all threads for the rest of each period, 100 ms mostly, once it "
               "is used up: that is p99");
  row.wanted = "no quota; give cores instead";
  const auto folder = input.host.cgroup_folder("cpu");
  if (!folder) {
    skip(row, "no cgroup of this process can be seen");
  } else if (const double cores = quota_cores(input.host, *folder); cores <= 0) {
    row.current = "no quota";
  } else {
    row.current = fmt::format("{:.2g} {}", cores, cores == 1 ? "core" : "cores");
    row.verdict = Verdict::kAdvice;
    row.fix = "AllowedCPUs= (cpuset) in place of CPUQuota=; with a quota shards are not pinned";
    row.persist = "in the unit, or --cpuset-cpus in place of --cpus in a container";
    row.undo = fmt::format("CPUQuota={:.0f}%", cores * 100);
    std::optional<std::string> throttled;
    for (const std::string& line : input.host.lines(*folder + "/cpu.stat")) {
      const auto words = split_words(line);
      if (words.size() == 2 && words[0] == "nr_throttled") throttled = words[1];
    }
    row.effect = throttled ? fmt::format("counted: stopped {} time{} so far", *throttled,
                                         *throttled == "1" ? "" : "s")
                           : "not measured: the cgroup does not count";
  }
  rows.push_back(std::move(row));
}

void check_cgroup_tasks(const CheckInput& input, std::vector<Row>& rows) {
  Row row = make_row("limits", "cgroup tasks", "each shard is a thread, and the writer");
  const std::size_t needed = input.receiver.shard_cpus.size() + 8;
  row.wanted = fmt::format("at least {}", needed);
  const auto folder = input.host.cgroup_folder("pids");
  const auto limit = folder ? input.host.text(*folder + "/pids.max") : std::nullopt;
  if (!limit) {
    skip(row, "no limit on tasks can be seen");
  } else {
    row.current = *limit;
    const auto number = leading_number(*limit);
    if (number && *number < static_cast<std::int64_t>(needed)) {
      row.verdict = Verdict::kProblem;
      row.fix = "raise it";
      row.persist = fmt::format("TasksMax={} in the unit, --pids-limit in a container", needed);
      row.undo = fmt::format("TasksMax={}", *limit);
    }
  }
  rows.push_back(std::move(row));
}

}  // namespace

void check_limits(const CheckInput& input, std::vector<Row>& rows) {
  check_descriptors(input, rows);
  check_locked_memory(input, rows);
  check_low_ports(input, rows);
  check_cgroup_memory(input, rows);
  check_cgroup_processor(input, rows);
  check_cgroup_tasks(input, rows);
}

}  // namespace mxring::tune
