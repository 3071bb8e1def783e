// The groups of a log: which there are, where each stands, and what they hold.
//
// Thread: any; nothing is kept between calls.
#pragma once

#include <mxring/log_reader.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "seglog/cursor_file.h"
#include "seglog/log_directory.h"

namespace mxring::seglog {

// <log>/groups, for reading and for what is made in it. ENOENT: there has never been one.
std::expected<ReadFile, int> open_groups(int log_fd);
// Made if need be: mode 3770, so that each reader's own user may keep its cursor there.
std::expected<ReadFile, int> make_groups(int log_fd);
// The names of all groups, sorted; none when there is no folder. errno when it cannot be listed.
std::expected<std::vector<std::string>, int> list_groups(int log_fd);

// What a log holds; asked of a LogReader.
struct LogExtent {
  Offset first = 0;
  Offset end = 0;
};

enum class CursorPlace : std::uint8_t {
  kHere,       // it speaks of records of this log
  kOtherLog,   // of another one
  kBeyondEnd,  // of records that this log has not had
};
CursorPlace place_of(int log_fd, const CursorFields& cursor, LogExtent log);

// The log id that the record `offset` has or had; nothing when its segment is not there.
std::optional<LogId> log_id_at(int log_fd, Offset offset);

// Where a group that holds stands: nothing at or after this may be taken from it.
struct Hold {
  std::string group;
  Offset next = 0;  // 0 as well when its file is damaged or cannot be read
  bool damaged = false;
};
// Of every group that holds. A folder that cannot be read is an error: nobody knows what is held.
std::expected<std::vector<Hold>, int> read_holds(int log_fd);

}  // namespace mxring::seglog
