#include "server/pulse_watch.h"

#include "base/assert.h"

namespace mxring::server {

std::vector<std::string> standing_still(const std::vector<Pulse>& before,
                                        const std::vector<Pulse>& after, base::MonoTime now) {
  MXRING_ASSERT(before.size() == after.size());
  std::vector<std::string> still;
  for (std::size_t i = 0; i < after.size(); ++i) {
    const Pulse& pulse = after[i];
    MXRING_ASSERT(before[i].thread == pulse.thread);
    const bool syncing =
        pulse.committing_since_ns != 0 && now.ns - pulse.committing_since_ns < kSyncAliveNs;
    if (pulse.progress == before[i].progress && !pulse.ended && !syncing) {
      still.push_back(pulse.thread);
    }
  }
  return still;
}

}  // namespace mxring::server
