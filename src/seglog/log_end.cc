#include "seglog/log_end.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "seglog/state_file.h"

namespace mxring::seglog {

void LogEnd::refresh() {
  if (!state_file_.is_open()) state_file_ = ReadFile::open_at(directory_fd_, kStateName);
  live_ = writer_lives(directory_fd_);
  const auto state = state_file_.is_open() ? read_state(state_file_.fd()) : std::nullopt;
  poisoned_ = state && state->poisoned();
  if (!live_) {
    ask_newest_segment(state);
    return;
  }
  tail_.reset();
  if (!state) return;  // a first start that has published nothing yet
  offset_ = state->durable;
  segment_ = state->segment;
  position_ = state->position;
  epoch_ = state->epoch;
}

void LogEnd::ask_newest_segment(const std::optional<StateFields>& state) {
  const auto bases = list_segments(directory_fd_);
  const std::uint64_t durable = state ? state->durable : 0;
  if (!bases || bases->empty()) {
    offset_ = durable;
    return;
  }
  const auto segment = open_segment(directory_fd_, bases->back());
  segment_ = bases->back();
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
