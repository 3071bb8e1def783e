// Where the groups of a log stand, for people and programs.
//
// Thread: any; reads cursors and record headers, never messages.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "seglog/log_directory.h"

namespace mxring::server {

struct GroupFacts {
  std::string group;
  std::uint64_t current = 0;  // the first offset not dealt with
  std::uint64_t end = 0;
  std::uint64_t lag = 0;
  std::uint64_t lag_bytes = 0;
  double lag_seconds = 0;
  std::int64_t committed_at_us = 0;  // 0: not known
  bool holds = true;
  // What retention must keep for it: all that it has not dealt with, or nothing.
  std::uint64_t held_bytes() const { return holds ? lag_bytes : 0; }
  std::string state;  // running retrying idle paused stopped foreign-log
  std::int64_t owner_pid = 0;
  std::uint64_t dead = 0;
  std::string error;
};

// `log` and `groups` are the folders, opened.
GroupFacts look_at_group(const seglog::ReadFile& log, const seglog::ReadFile& groups,
                         const std::string& group);
// All of them, by name; none of a log that cannot be read.
std::vector<GroupFacts> look_at_groups(const std::string& log);

}  // namespace mxring::server
