// How many shards to run and on which cores, from what this process may use: its affinity mask and
// its cgroup's CPU quota.
#pragma once

#include <cstdint>
#include <vector>

namespace mxring::server {

struct CpuLayout {
  std::vector<int> shard_cpus;  // one per shard; -1 = not pinned
  int writer_cpu = -1;
};

struct CpuFacts {
  std::vector<int> allowed;  // affinity mask, ascending
  double quota_cores = 0;    // cgroup cpu.max; 0 = none
};

CpuFacts read_cpu_facts();

// `shards` 0 = one per usable core, less one for the writer when there are four or more.
CpuLayout lay_out_cpus(const CpuFacts& facts, std::uint32_t shards, bool pin);

}  // namespace mxring::server
