#include "seglog/group_reader.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/assert.h"
#include "seglog/identity.h"
#include "seglog/log_directory.h"

namespace mxring::seglog {

namespace {

GroupError error_of(GroupErrorKind kind, std::string message) {
  GroupError error;
  error.kind = kind;
  error.message = std::move(message);
  return error;
}

}  // namespace

GroupError GroupReader::of_log(const LogError& error) const {
  GroupError wrapped = error_of(GroupErrorKind::kLog, error.message);
  wrapped.log = error;
  return wrapped;
}

GroupError GroupReader::of_cursor(const char* what, int error) const {
  return error_of(GroupErrorKind::kCursor, (path_ / kGroupsName / cursor_name(group_)).string() +
                                               ": cannot be " + what + ": " +
                                               std::system_category().message(error));
}

GroupError GroupReader::wrong_place(CursorPlace place) const {
  const std::string command = "`mxring groups reset " + path_.string() + " " + group_ +
                              " --to-earliest|--to-latest|--to-offset N --execute`";
  if (place == CursorPlace::kBeyondEnd) {
    return error_of(
        GroupErrorKind::kBeyondEnd,
        "the cursor of group " + group_ + " stands at " + std::to_string(fields_.next) +
            ", beyond the end of the log, " + std::to_string(log_->end()) +
            ": the log was put back from an older copy; decide where to go on: " + command);
  }
  return error_of(
      GroupErrorKind::kOtherLog,
      "the cursor of group " + group_ + " (log id " + fields_.id().hex() +
          ") is of another log than this one (" + log_->log_id().hex() +
          "): it was made anew or put back from an older copy; decide where to go on: " + command);
}

std::expected<GroupReader, GroupError> GroupReader::open(const std::filesystem::path& log,
                                                         const std::string& group,
                                                         const GroupOptions& options,
                                                         base::Now now) {
  if (!is_group_name(group)) {
    return std::unexpected(
        error_of(GroupErrorKind::kName, "a group's name has 1 to 64 letters, digits, - and _"));
  }
  GroupReader reader;
  reader.path_ = log;
  reader.group_ = group;
  auto opened = LogReader::open(log);
  if (!opened) return std::unexpected(reader.of_log(opened.error()));
  reader.log_ = std::move(*opened);
  reader.log_->include_refusals(options.refusals);
  auto directory = open_log(log);
  if (!directory) return std::unexpected(reader.of_log(directory.error()));
  reader.directory_ = std::move(*directory);
  if (auto begun = reader.begin(options, now); !begun) return std::unexpected(begun.error());
  return reader;
}

std::expected<void, GroupError> GroupReader::begin(const GroupOptions& options, base::Now now) {
  auto folder = open_groups(directory_.fd());
  auto opened = folder ? CursorFile::open(folder->fd(), group_)
                       : std::unexpected(CursorFile::Refusal{folder.error(), {}});
  if (!opened && opened.error().error == ENOENT) {
    if (!options.create) {
      return std::unexpected(error_of(GroupErrorKind::kNoGroup, "there is no group " + group_));
    }
    return make(options, now);
  }
  if (!opened && opened.error().error == 0) {
    const std::string& pid = opened.error().owner_pid;
    return std::unexpected(error_of(GroupErrorKind::kOwned,
                                    "another process" + (pid.empty() ? "" : " (pid " + pid + ")") +
                                        " reads for group " + group_));
  }
  if (!opened) return std::unexpected(of_cursor("opened", opened.error().error));
  if (options.only_new) {
    return std::unexpected(error_of(GroupErrorKind::kExists,
                                    "there is a group " + group_ +
                                        " already, and it goes on where it stands; `mxring groups "
                                        "reset` moves it"));
  }
  cursor_ = std::move(*opened);
  damaged_ = repair_ = !cursor_->fields().has_value();
  if (damaged_) {  // what it had dealt with is not known: everything that is there comes again
    fields_.flags = kCursorHolds;
    fields_.next = log_->first();
    fields_.set_id(log_id_at(directory_.fd(), fields_.next).value_or(log_->log_id()));
  } else {
    fields_ = *cursor_->fields();
  }
  if (fields_.paused()) {
    return std::unexpected(
        error_of(GroupErrorKind::kPaused, "group " + group_ + " is paused; `mxring groups resume " +
                                              path_.string() + " " + group_ + "`"));
  }
  position_ = handed_ = done_ = committed_ = fields_.next;
  ids_.push_back({0, fields_.id()});
  auto moved = log_->seek(position_);
  if (!moved && moved.error().kind == LogErrorKind::kBeyondEnd) {
    return std::unexpected(
        wrong_place(place_of(directory_.fd(), fields_, {log_->first(), log_->end()})));
  }
  // What was removed comes as a gap.
  if (!moved && moved.error().kind == LogErrorKind::kGone) moved = log_->stay_at(position_);
  if (!moved) return std::unexpected(of_log(moved.error()));
  return check_place();
}

// While a writer looks for the end the cursor may be beyond what we know: asked again later.
std::expected<void, GroupError> GroupReader::check_place() {
  const LogExtent extent{log_->first(), log_->end()};
  if (fields_.next > extent.end) return {};
  place_checked_ = true;
  const CursorPlace place = place_of(directory_.fd(), fields_, extent);
  if (place != CursorPlace::kHere) return std::unexpected(wrong_place(place));
  return {};
}

std::expected<void, GroupError> GroupReader::make(const GroupOptions& options, base::Now now) {
  std::expected<void, LogError> moved;
  switch (options.start.kind) {
    case GroupStart::Kind::kEarliest:
      break;
    case GroupStart::Kind::kLatest:
      moved = log_->seek(log_->end());
      break;
    case GroupStart::Kind::kOffset:
      moved = log_->seek(options.start.offset);
      break;
    case GroupStart::Kind::kTime:
      moved = log_->seek_time(options.start.unix_us);
      break;
  }
  if (!moved && moved.error().kind == LogErrorKind::kBeyondEnd) {
    return std::unexpected(error_of(GroupErrorKind::kStart, moved.error().message));
  }
  if (!moved && moved.error().kind != LogErrorKind::kGone) {
    return std::unexpected(of_log(moved.error()));
  }
  fields_.flags = options.holds ? std::uint32_t{kCursorHolds} : 0;
  fields_.next = log_->position();
  fields_.committed_at_us = now.wall.us;
  fields_.handed_over = fields_.next;
  const auto before =
      fields_.next > 0 ? log_id_at(directory_.fd(), fields_.next - 1) : std::nullopt;
  const auto at = log_id_at(directory_.fd(), fields_.next);
  fields_.set_id(before ? *before : at ? *at : log_->log_id());
  auto folder = make_groups(directory_.fd());
  if (!folder) return std::unexpected(of_cursor("made", folder.error()));
  auto made = CursorFile::create(folder->fd(), group_, fields_);
  if (!made && made.error().error == EEXIST) {
    return std::unexpected(error_of(GroupErrorKind::kOwned,
                                    "group " + group_ + " was made by somebody else just now"));
  }
  if (!made) return std::unexpected(of_cursor("made", made.error().error));
  cursor_ = std::move(*made);
  fields_ = *cursor_->fields();
  position_ = handed_ = done_ = committed_ = fields_.next;
  ids_.push_back({0, fields_.id()});
  written_at_ = now.mono;
  made_ = true;
  place_checked_ = true;
  return {};
}

std::expected<GroupReader::Step, GroupError> GroupReader::next() & {
  if (!place_checked_) {
    if (auto placed = check_place(); !placed) return std::unexpected(placed.error());
  }
  Step step;
  auto record = log_->next();
  if (record) {
    position_ = std::max(position_, log_->position());
    if (*record) {
      note_id((*record)->offset, (*record)->log_id);
      handed_ = (*record)->offset + 1;
    } else {
      pass_over();
    }
    step.record = std::move(*record);
  } else {
    const LogError& error = record.error();
    if (error.kind == LogErrorKind::kBeyondEnd) {
      return std::unexpected(wrong_place(CursorPlace::kBeyondEnd));
    }
    const bool removed = error.kind == LogErrorKind::kGone;
    if (!removed && error.kind != LogErrorKind::kDamaged) {
      // Not dealt with, and not lost: the next call meets it again.
      if (error.records > 0) (void)log_->stay_at(error.offset);
      return std::unexpected(of_log(error));
    }
    step.gap = RecordGap{error.offset, error.offset + error.records, removed};
    position_ = handed_ = step.gap->next;
  }
  invariants();
  return step;
}

// Records of refused mail after the latest one handed over: nobody has to deal with them.
void GroupReader::pass_over() {
  if (done_ < handed_ || done_ == position_) return;
  done_ = position_;
  pending_ = true;
}

void GroupReader::note_id(Offset offset, const LogId& id) {
  MXRING_ASSERT(!ids_.empty());
  if (!(ids_.back().id == id)) ids_.push_back({offset, id});
}

LogId GroupReader::id_before(Offset next) const {
  for (auto from = ids_.rbegin(); from != ids_.rend(); ++from) {
    if (from->offset < next || from->offset == 0) return from->id;
  }
  return ids_.front().id;
}

std::expected<void, GroupError> GroupReader::commit(Offset next, base::Now now) {
  if (next > position_) {
    return std::unexpected(error_of(GroupErrorKind::kCursor,
                                    "offset " + std::to_string(next) +
                                        " cannot be committed: only records below " +
                                        std::to_string(position_) + " have been handed over"));
  }
  if (next > done_) {
    done_ = next;
    pending_ = true;
  }
  pass_over();
  MXRING_ASSERT(done_ <= position_ && committed_ <= done_);
  if (!pending_ || now.mono - written_at_ < kCommitEveryNs) return {};
  return flush(now);
}

std::expected<void, GroupError> GroupReader::flush(base::Now now) {
  if (!pending_ && !repair_) return {};
  fields_.next = done_;
  fields_.set_id(id_before(done_));
  fields_.handed_over = position_;
  fields_.committed_at_us = now.wall.us;
  written_at_ = now.mono;
  if (auto written = cursor_->write(fields_); !written) {
    return std::unexpected(of_cursor("written", written.error()));
  }
  pending_ = repair_ = false;
  committed_ = done_;
  MXRING_ASSERT(committed_ <= position_);
  while (ids_.size() > 1 && ids_[1].offset < committed_) ids_.erase(ids_.begin());
  ids_.front().offset = 0;
  invariants();
  return {};
}

std::optional<base::MonoTime> GroupReader::due() const {
  if (!pending_) return std::nullopt;
  return written_at_ + kCommitEveryNs;
}

std::expected<void, GroupError> GroupReader::move_to(Offset next, base::Now now) {
  if (next > log_->end()) {
    return std::unexpected(
        error_of(GroupErrorKind::kBeyondEnd, "offset " + std::to_string(next) +
                                                 " is beyond the end of the log, " +
                                                 std::to_string(log_->end())));
  }
  if (auto moved = log_->stay_at(next); !moved) return std::unexpected(of_log(moved.error()));
  position_ = handed_ = next;
  if (next >= done_) return {};
  done_ = committed_ = next;
  ids_.assign(1, {0, log_id_at(directory_.fd(), next).value_or(log_->log_id())});
  pending_ = true;
  return flush(now);
}

void GroupReader::invariants() const {
  MXRING_ASSERT(committed_ <= done_ && done_ <= position_ && handed_ <= position_);
  MXRING_ASSERT(!ids_.empty() && ids_.front().offset == 0);
}

}  // namespace mxring::seglog
