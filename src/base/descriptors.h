// How many files a receiver needs beside its connections: what clients use up is not there when the
// log needs its next segment. The server keeps this many back, `tune check` asks the host for them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mxring::base {

// The log's files and the next segment's, certificates, the admin's clients, libraries; and of each
// shard its ring, its wake-up, sockets for DNS and one for each listener.
constexpr std::uint64_t descriptors_kept(std::size_t shards, std::size_t listeners) {
  constexpr std::uint64_t kMin = 256;
  constexpr std::uint64_t kOfAll = 128;
  constexpr std::uint64_t kOfShard = 8;
  const std::uint64_t kept = kOfAll + shards * (kOfShard + listeners);
  return kept < kMin ? kMin : kept;
}

struct DescriptorLimit {
  std::uint64_t now = 0;
  std::uint64_t hard = 0;
};

// Raises what this process may open to `wanted`, or as far as it goes. Both are 0 when the system
// does not say.
DescriptorLimit raise_descriptors(std::uint64_t wanted);

}  // namespace mxring::base
