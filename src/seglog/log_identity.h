// The writer's side of a log's identity: found, made, or made anew, and durable before a record
// bears it.
#pragma once

#include <mxring/record.h>

#include <expected>
#include <filesystem>
#include <string>

#include "uring/file.h"

namespace mxring::seglog {

LogId make_log_id();

// Writes `log-id`, under another name first. With `durable` it is on stable storage afterwards.
// errno on failure; the old file is then whole.
std::expected<void, int> write_log_id(const std::string& directory, uring::File& directory_file,
                                      const LogId& id, bool durable, uring::FaultPlan* faults);

// What `log renew-id` does: a new id for the segments to come. Refused while a writer lives.
struct Renewed {
  LogId before;
  LogId after;
};
std::expected<Renewed, std::string> renew_log_id(const std::filesystem::path& log);

}  // namespace mxring::seglog
