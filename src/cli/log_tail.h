// What `log tail` with and without a group share.
#pragma once

#include <mxring/log_reader.h>

#include <cstdint>
#include <optional>
#include <string>

#include "cli/log_walk.h"

namespace mxring::cli {

class Interruption;

struct TailOptions {
  Selection start;
  std::optional<std::uint64_t> last;
  std::string group;
  std::string body = "none";
  bool ack = false;
  bool delivered = false;
  bool wait = false;
  bool json = false;
  bool refused = false;
};

// The record as a line of JSON, or the lines for a person.
std::string tail_line(const Record& record, const TailOptions& options);
// {"gap":{"first":F,"next":N,"why":"removed"}} and LF.
std::string gap_json(Offset first, Offset next, bool removed);

int run_group_tail(const TailOptions& options, const Interruption& interruption);

}  // namespace mxring::cli
