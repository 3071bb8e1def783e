// Dates of header fields (RFC 5322 3.3, with the obsolete zones and two-digit years of 4.3).
//
// What real mail does and is taken: a missing or wrong day name, a missing zone (read as UTC), a
// missing second, the month before the day ("May 09 2017"), comments. Pure, linear time.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mxring::mail {

// Seconds since 1970-01-01 UTC; nothing when it is no date.
std::optional<std::int64_t> parse_date(std::string_view value);

}  // namespace mxring::mail
