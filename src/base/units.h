// Sizes and times as people write them, both ways.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mxring::base {

// "0", "4096", "64KiB", "25 MiB", "1GiB", "500MB" (decimal). Bytes. Nothing on overflow or
// nonsense.
std::optional<std::uint64_t> parse_bytes(std::string_view text);

// "0", "250ms", "30s", "5m", "2h", "7d". Nanoseconds. A unit is required except for 0.
std::optional<std::int64_t> parse_duration_ns(std::string_view text);

// The longest duration there is: a hundred years, so that adding one to a clock cannot overflow.
constexpr std::int64_t kDurationMaxNs = 36'500 * std::int64_t{86'400} * 1'000'000'000;

// "" when `text` is a duration from `min_ns` to `max_ns`; else what is wrong with it, its form or
// its length: "not a duration; write 250ms, 30s or 7d", "too long: at most 36500d".
std::string duration_problem(std::string_view text, std::int64_t min_ns = 1,
                             std::int64_t max_ns = kDurationMaxNs);
// In the largest unit that divides it, as parse_duration_ns() reads it back: "90s", "7d".
std::string plain_duration(std::int64_t ns);

std::string format_bytes(std::uint64_t bytes);  // "1.5 MiB"
std::string format_duration(std::int64_t ns);   // "1.25 ms"
std::string format_count(std::uint64_t count);  // "12,345"
// "1 record", "12,345 records", "2 DNS queries": `many` where an s does not do.
std::string counted(std::uint64_t count, std::string_view one, std::string_view many = {});
std::string format_wall_time(std::int64_t unix_us);  // "2026-11-22T01:02:03.456Z"

}  // namespace mxring::base
