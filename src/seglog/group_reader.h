// Reads a log for a group: from the group's cursor on, record by record and gap by gap, and commits
// what has been dealt with. Owns the group for as long as it lives.
//
// What is read lies in the LogReader's memory until the next call. Nothing is skipped silently: a
// record that cannot be read because the system refuses is an error again and again; what has been
// removed or damaged is a gap; a cursor that is not of this log ends it all.
//
// Thread: one at a time. Time: an argument, for the pace of commits.
#pragma once

#include <mxring/log_reader.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "seglog/cursor_file.h"
#include "seglog/groups.h"

namespace mxring::seglog {

enum class GroupErrorKind : std::uint8_t {
  kLog,      // the log itself: see `log`
  kName,     // not a group's name
  kNoGroup,  // there is none, and it was not to be made
  kExists,   // there is one, and a start was given that only a new one can have
  kOwned,    // somebody else reads for it
  kPaused,
  kOtherLog,   // its cursor is of another log
  kBeyondEnd,  // its cursor is beyond the end of this log
  kStart,      // no record has had the offset to begin at
  kCursor,     // the cursor cannot be opened or written
};

struct GroupError {
  GroupErrorKind kind = GroupErrorKind::kLog;
  std::string message;  // one line, with the way out where there is one
  LogError log;
};

// Records [first, next) that nobody gets.
struct RecordGap {
  Offset first = 0;
  Offset next = 0;
  bool removed = false;  // by retention; else damaged
};

// Where a new group begins.
struct GroupStart {
  enum class Kind : std::uint8_t { kEarliest, kLatest, kOffset, kTime } kind = Kind::kEarliest;
  Offset offset = 0;
  std::int64_t unix_us = 0;
};

struct GroupOptions {
  GroupStart start;
  bool create = true;
  bool only_new = false;  // the start was asked for: a group that exists is an error
  bool holds = true;      // of a new group
  bool refusals = false;  // records of refused mail too
};

class GroupReader {
 public:
  static std::expected<GroupReader, GroupError> open(const std::filesystem::path& log,
                                                     const std::string& group,
                                                     const GroupOptions& options, base::Now now);

  // Neither: the end for now.
  struct Step {
    std::optional<Record> record;
    std::optional<RecordGap> gap;
  };
  std::expected<Step, GroupError> next() &;
  std::expected<Step, GroupError> next() && = delete;

  // One past what next() has handed over, records passed over included.
  Offset position() const { return position_; }
  Offset committed() const { return committed_; }  // on disk
  bool was_made() const { return made_; }
  bool was_damaged() const { return damaged_; }  // its cursor was; it began at the earliest record

  // Everything below `next` has been dealt with: not above position(). Reaches the disk at most
  // five times a second; what is left over does with the next call, with flush(), or when the group
  // is given up.
  std::expected<void, GroupError> commit(Offset next, base::Now now);
  std::expected<void, GroupError> flush(base::Now now);
  // When what is pending may be written, monotonic; nothing: nothing is pending.
  std::optional<base::MonoTime> due() const;

  // Reading goes on at `next`, at most the log's end: before the place, or after it where what is
  // between is known to be dealt with. A place after `next` goes back to it, durably.
  std::expected<void, GroupError> move_to(Offset next, base::Now now);

  // For whoever delivers: kept in the cursor with the next write.
  CursorFields& fields() { return fields_; }
  // Makes the next flush() write, also when the offset stands.
  void touch() { pending_ = true; }

  LogReader& log() { return *log_; }

  static constexpr std::int64_t kCommitEveryNs = 200 * base::kNsPerMs;

 private:
  GroupReader() = default;
  std::expected<void, GroupError> begin(const GroupOptions& options, base::Now now);
  std::expected<void, GroupError> make(const GroupOptions& options, base::Now now);
  std::expected<void, GroupError> check_place();
  GroupError of_log(const LogError& error) const;
  GroupError of_cursor(const char* what, int error) const;
  GroupError wrong_place(CursorPlace place) const;
  void note_id(Offset offset, const LogId& id);
  LogId id_before(Offset next) const;
  void pass_over();
  void invariants() const;

  std::filesystem::path path_;
  std::string group_;
  ReadFile directory_;
  std::optional<LogReader> log_;
  std::optional<CursorFile> cursor_;
  CursorFields fields_;
  Offset position_ = 0;
  Offset handed_ = 0;     // one past the latest record or gap
  Offset done_ = 0;       // committed by the caller
  Offset committed_ = 0;  // written
  bool pending_ = false;
  bool made_ = false;
  bool damaged_ = false;
  bool repair_ = false;  // the file must be written even when nothing else is pending
  bool place_checked_ = false;
  base::MonoTime written_at_;
  // From which offset on records bore which log id; of what was handed over and is not committed.
  struct IdFrom {
    Offset offset;
    LogId id;
  };
  std::vector<IdFrom> ids_;
};

}  // namespace mxring::seglog
