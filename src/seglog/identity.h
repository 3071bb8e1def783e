// Which log this is: 16 random bytes, made with it, in every segment header and as text in the file
// `log-id`. The file says what the next segment will bear; a segment, what its records bear.
#pragma once

#include <mxring/record.h>

#include <expected>
#include <optional>
#include <string_view>

#include "seglog/format.h"

namespace mxring::seglog {

LogId log_id_of(const SegmentHeader& header);

// 32 hexadecimal digits, not all zero.
std::optional<LogId> parse_log_id(std::string_view hex);

// The id that new records get: the file's, else the newest segment's; unknown when neither has one.
LogId current_log_id(int directory_fd);
// The file's alone.
std::optional<LogId> read_log_id(int directory_fd);

}  // namespace mxring::seglog
