// Looks through a log by what the metadata of its records say: headers and metadata are read, the
// messages between them are not. What it finds is to be looked at in the record itself, which
// checks the record whole: metadata read alone cannot be checked.
//
// Thread: find() starts threads of its own, and ends them.
#pragma once

#include <mxring/log_reader.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <vector>

namespace mxring::seglog {

struct FindResult {
  std::vector<Offset> offsets;  // ascending
  std::uint64_t records_seen = 0;
  std::uint64_t bytes_read = 0;
};

// Every record in [first, next) for which `matches` is true. It is asked by several threads at
// once, with a record without message; `bytes` are the metadata alone. Records whose metadata are
// malformed are found too: reading them says what is wrong. What is damaged is left out.
// `threads_max`: how many, the caller's included.
constexpr unsigned kFindThreads = 8;
std::expected<FindResult, LogError> find_records(const std::filesystem::path& log, Offset first,
                                                 Offset next,
                                                 const std::function<bool(const Record&)>& matches,
                                                 unsigned threads_max = kFindThreads);

}  // namespace mxring::seglog
