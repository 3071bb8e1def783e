// What retention did, in words. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "seglog/kept_segments.h"

namespace mxring::server {

// "LOG: removed offsets 0 to 999 (3 segments, 12 MiB), older than log.retain_age = 30d"
std::string removed(std::string_view log, const seglog::Removal& removal,
                    const seglog::Retention::Options& limits);
// "retention keeps 12 MiB for group tickets, which stands at offset 17"
std::string kept_for(const seglog::Held& held);
// "warning: the wall clock was set 400 days forward: ..."
std::string clock_moved(std::int64_t us);

}  // namespace mxring::server
