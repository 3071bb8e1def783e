#include "seglog/log_end.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "seglog/state_file.h"

namespace mxring::seglog {

void LogEnd::refresh() {
  trouble_.reset();
  if (!open_state()) return;
  const auto lives = writer_lives();
  if (!lives) {
    trouble_ = Trouble{kLockName, lives.error()};
    return;
  }
  live_ = *lives;
  sure_ = true;
  const auto state = state_file_.is_open() ? read_state(state_file_.fd()) : std::nullopt;
  poisoned_ = state && state->poisoned();
  if (!live_) {
    ask_newest_segment(state);
    return;
  }
  tail_.reset();
  if (!state || state->recovering()) {
    // A writer that has published nothing yet: the page is older than what it may find.
    sure_ = false;
    if (state) offset_ = std::max(offset_, state->durable);
    return;
  }
  offset_ = state->durable;
  segment_ = state->segment;
  position_ = state->position;
  epoch_ = state->epoch;
}

// Asked at each look, so the file stays open. When nobody holds it, another one may have taken its
// place under the name.
std::expected<bool, int> LogEnd::writer_lives() {
  if (lock_file_.is_open()) {
    if (const auto held = lock_is_held(lock_file_.fd()); held && *held) return true;
  }
  lock_file_ = ReadFile::open_at(directory_fd_, kLockName);
  if (lock_file_.is_open()) return lock_is_held(lock_file_.fd());
  if (errno == ENOENT) return false;
  return std::unexpected(errno);
}

// Under the same name there may be another file: a log that was made anew, or put back from a copy.
bool LogEnd::open_state() {
  struct stat status {};
  if (::fstatat(directory_fd_, kStateName, &status, 0) != 0) status.st_ino = 0;
  if (state_file_.is_open() && status.st_ino == state_inode_) return true;
  lock_file_ = ReadFile();
  state_file_ = ReadFile::open_at(directory_fd_, kStateName);
  if (!state_file_.is_open()) {
    if (says_nothing_of_the_log(errno)) trouble_ = Trouble{kStateName, errno};
    return !trouble_;
  }
  state_inode_ = ::fstat(state_file_.fd(), &status) == 0 ? status.st_ino : 0;
  return true;
}

void LogEnd::ask_newest_segment(const std::optional<StateFields>& state) {
  const auto bases = list_segments(directory_fd_);
  const std::uint64_t durable = state ? state->durable : 0;
  if (!bases) {
    trouble_ = Trouble{"the directory", bases.error()};
    return;
  }
  if (bases->empty()) {
    offset_ = durable;
    return;
  }
  const auto segment = open_segment(directory_fd_, bases->back());
  segment_ = bases->back();
  // With neither the segment nor the page nobody knows how many records there are.
  const bool unknown = !segment && (says_nothing_of_the_log(segment.error().error) ||
                                    (segment.error().kind == SegmentError::Kind::kIo && !state));
  if (unknown) {
    trouble_ = Trouble{segment_name(segment_), segment.error().error};
    return;
  }
  if (!segment) {
    // Its records cannot be read; their number may still be known.
    offset_ = std::max(durable, bases->back());
    position_ = 0;
    epoch_ = 0;
    return;
  }
  epoch_ = segment->header.epoch;
  if (const auto seal = read_seal(segment->file.fd(), segment->file_bytes, segment->key())) {
    offset_ = std::max(durable, seal->offset);
    position_ = segment->file_bytes;
    tail_.reset();
    return;
  }
  const Tail& tail = tail_of(*segment, state);
  offset_ = tail.next_offset;
  position_ = tail.sealed ? tail.position + kRecordHeaderBytes : tail.position;
}

const Tail& LogEnd::tail_of(const OpenSegment& segment, const std::optional<StateFields>& state) {
  const std::uint64_t sequence = state ? state->sequence : 0;
  if (tail_ && tail_inode_ == segment.inode && tail_epoch_ == segment.header.epoch &&
      tail_file_bytes_ == segment.file_bytes && tail_sequence_ == sequence) {
    return *tail_;
  }
  TailQuestion question;
  question.fd = segment.file.fd();
  question.file_bytes = segment.file_bytes;
  question.header = segment.header;
  question.durable = state ? state->durable : 0;
  question.poisoned = state && state->poisoned();
  // A record that a killed writer left in the page cache is not durable yet, and readers show only
  // what is. Where the file system is read-only there is nothing to sync; where the sync fails,
  // only what the state page vouches for counts.
  if (::fdatasync(question.fd) != 0 && errno == EIO) question.poisoned = true;
  tail_ = find_tail(question);
  tail_inode_ = segment.inode;
  tail_epoch_ = segment.header.epoch;
  tail_file_bytes_ = segment.file_bytes;
  tail_sequence_ = sequence;
  return *tail_;
}

std::uint64_t LogEnd::limit(const OpenSegment& segment) const {
  return is_last(segment) ? std::min(position_, segment.file_bytes) : segment.file_bytes;
}

bool LogEnd::agrees_with(const OpenSegment& segment) const {
  return !is_last(segment) || segment.header.epoch == epoch_;
}

}  // namespace mxring::seglog
