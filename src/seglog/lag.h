// How far a place in a log is from its end: in records, in bytes of the segments, and in time.
#pragma once

#include <cstdint>

#include "seglog/log_directory.h"

namespace mxring::seglog {

struct Lag {
  std::uint64_t records = 0;  // between here and the end, refused and missing ones included
  std::uint64_t bytes = 0;
  std::int64_t oldest_us = 0;  // when the first of them was received; 0: there is none
};

// Of the record `next`, in the log as it is now. Reads record headers, never messages.
Lag measure_lag(int log_fd, Offset next);
// The bytes from one record to another, `to` at most the end.
std::uint64_t bytes_between(int log_fd, Offset from, Offset to);

}  // namespace mxring::seglog
