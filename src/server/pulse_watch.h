// Whether every shard and the writer make progress. A look takes their pulses twice, with a poke
// between, so that those that sleep go round once; who has not moved by the second stands still,
// but for one that has ended, and a writer that waits for the disk: for five minutes that is the
// disk's fault, and a restart would not mend it.
//
// Thread: the caller's; a value without clocks or threads of its own.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "server/server.h"

namespace mxring::server {

constexpr std::int64_t kSyncAliveNs = 300 * base::kNsPerSecond;

// The threads that stand still: with the same pulse as before. Empty: all is well.
std::vector<std::string> standing_still(const std::vector<Pulse>& before,
                                        const std::vector<Pulse>& after, base::MonoTime now);

}  // namespace mxring::server
