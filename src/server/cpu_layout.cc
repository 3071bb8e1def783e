#include "server/cpu_layout.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <string>

namespace mxring::server {

namespace {

constexpr std::size_t kCoresWithOwnWriter = 4;

// cgroup v2: "max 100000" or "150000 100000".
double read_quota() {
  std::ifstream self("/proc/self/cgroup");
  std::string line;
  while (std::getline(self, line)) {
    if (!line.starts_with("0::")) continue;
    std::ifstream file("/sys/fs/cgroup" + line.substr(3) + "/cpu.max");
    std::string quota;
    double period = 0;
    if (file >> quota >> period && quota != "max" && period > 0) return std::stod(quota) / period;
  }
  return 0;
}

}  // namespace

CpuFacts read_cpu_facts() {
  CpuFacts facts;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(static_cast<unsigned>(cpu), &set)) facts.allowed.push_back(cpu);
    }
  }
  facts.quota_cores = read_quota();
  return facts;
}

CpuLayout lay_out_cpus(const CpuFacts& facts, std::uint32_t shards, bool pin) {
  std::size_t cores = std::max<std::size_t>(facts.allowed.size(), 1);
  if (facts.quota_cores > 0) {
    const auto quota = static_cast<std::size_t>(std::ceil(facts.quota_cores));
    cores = std::clamp<std::size_t>(quota, 1, cores);
  }
  const bool own_writer = cores >= kCoresWithOwnWriter;
  const std::size_t count = shards != 0 ? shards : (own_writer ? cores - 1 : cores);
  // A quota smaller than the mask is a share of time, not of cores: pinning would only get in the
  // scheduler's way.
  const bool pinned = pin && !facts.allowed.empty() && count <= facts.allowed.size() &&
                      cores == facts.allowed.size();
  CpuLayout layout;
  for (std::size_t i = 0; i < count; ++i) {
    layout.shard_cpus.push_back(pinned ? facts.allowed[i] : -1);
  }
  if (pinned && count < facts.allowed.size()) layout.writer_cpu = facts.allowed.back();
  return layout;
}

}  // namespace mxring::server
