// Moments as people type them on a command line.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"

namespace mxring::base {

// "2026-11-22", "2026-11-22T01:02:03Z", "2026-11-22T01:02:03.5+02:00" (no zone: UTC), "15m" (that
// long before `now`), "now", "@1795309323" (Unix seconds). Microseconds since 1970, or nothing.
inline constexpr std::string_view kTimeForms =
    "write 2026-11-22T01:02:03Z, 2026-11-22, now, 15m for that long ago, or @UNIXSECONDS";
std::optional<std::int64_t> parse_time(std::string_view text, WallTime now);

}  // namespace mxring::base
