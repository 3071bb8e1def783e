// Sizes and times as people write them, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mxring::base {

// "0", "4096", "64KiB", "25 MiB", "1GiB", "500MB" (decimal). Bytes. Nothing on overflow or nonsense.
std::optional<std::uint64_t> parse_bytes(std::string_view text);

// "0", "250ms", "30s", "5m", "2h", "7d". Nanoseconds. A unit is required except for 0.
std::optional<std::int64_t> parse_duration_ns(std::string_view text);

std::string format_bytes(std::uint64_t bytes);         // "1.5 MiB"
std::string format_duration(std::int64_t ns);          // "1.25 ms"
std::string format_count(std::uint64_t count);         // "12,345"
// "1 record", "12,345 records", "2 DNS queries": `many` where an s does not do.
std::string counted(std::uint64_t count, std::string_view one, std::string_view many = {});
std::string format_wall_time(std::int64_t unix_us);    // "2026-11-22T01:02:03.456Z"

}  // namespace mxring::base
