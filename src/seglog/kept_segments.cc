#include "seglog/kept_segments.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/assert.h"
#include "base/probe.h"
#include "seglog/spare_pool.h"

namespace mxring::seglog {

KeptSegments::KeptSegments(Place place, Retention::Options retention,
                           std::deque<SealedSegment> segments)
    : place_(place), retention_(retention), segments_(std::move(segments)) {
  for (const SealedSegment& segment : segments_) bytes_ += segment.file_bytes;
  invariants();
}

void KeptSegments::add(SealedSegment segment) {
  MXRING_ASSERT(segments_.empty() || segments_.back().base_offset <= segment.base_offset);
  bytes_ += segment.file_bytes;
  segments_.push_back(std::move(segment));
}

void KeptSegments::retire(const Active& active, SparePool& spares, bool disk_low) {
  holds_known_ = false;
  held_ = {};
  while (!segments_.empty()) {
    const SealedSegment oldest = segments_.front();
    const auto due = retention_.due({oldest.newest_us, bytes_ + active.bytes});
    if (!due) break;
    const std::uint64_t next = next_after_oldest(active);
    RemovedFor why = *due;
    if (!may_go(next, active, disk_low, why)) break;
    if (!remove_oldest(spares)) return;  // the next call tries again
    if (why == RemovedFor::kHoldFull) count_dropped(oldest.base_offset, next);
    note(oldest, next, why);
    retention_.note_removed(*due);
    disk_low = false;  // one at a time: how much room that made is not known yet
  }
  const bool none_overdue = segments_.empty() || !retention_.overdue(segments_.front().newest_us);
  if (none_overdue) retention_.note_none_overdue();
  invariants();
}

std::uint64_t KeptSegments::next_after_oldest(const Active& active) const {
  return segments_.size() > 1 ? segments_[1].base_offset : active.base_offset;
}

// Read when something is due, and not before: most of the time nothing is.
void KeptSegments::find_holds() {
  if (holds_known_) return;
  holds_known_ = true;
  auto holds = read_holds(place_.directory_fd);
  held_.unknown = !holds;
  holds_ = holds ? std::move(*holds) : std::vector<Hold>{};
}

// What retention would take, if nobody held it.
std::uint64_t KeptSegments::beyond_retention(const Active& active) const {
  std::uint64_t left = bytes_ + active.bytes;
  std::uint64_t beyond = 0;
  for (const SealedSegment& segment : segments_) {
    if (!retention_.due({segment.newest_us, left})) break;
    beyond += segment.file_bytes;
    MXRING_ASSERT(left >= segment.file_bytes);
    left -= segment.file_bytes;
  }
  return beyond;
}

// Whether the oldest segment, which ends before `next_offset`, may go for `why`, or for another
// reason.
bool KeptSegments::may_go(std::uint64_t next_offset, const Active& active, bool disk_low,
                          RemovedFor& why) {
  find_holds();
  if (held_.unknown) {
    MXRING_PROBE("retention: what groups hold is not known");
    return false;
  }
  const auto furthest = std::min_element(
      holds_.begin(), holds_.end(), [](const Hold& a, const Hold& b) { return a.next < b.next; });
  if (furthest == holds_.end() || furthest->next >= next_offset) return true;
  MXRING_PROBE("retention: a group holds the oldest");
  MXRING_ASSERT(!held_.unknown && holds_known_);
  held_.bytes = beyond_retention(active);
  held_.group = furthest->group;
  held_.next = furthest->next;
  held_.damaged = furthest->damaged;
  const bool full =
      place_.hold_bytes != 0 ? held_.bytes > place_.hold_bytes : place_.drop_when_full && disk_low;
  held_.full = full && !place_.drop_when_full;
  if (!full || held_.full) return false;
  why = RemovedFor::kHoldFull;
  MXRING_PROBE("retention: a held segment goes");
  return true;
}

void KeptSegments::count_dropped(std::uint64_t first, std::uint64_t next) {
  for (const Hold& hold : holds_) {
    const std::uint64_t from = std::max(first, hold.next);
    if (from < next) dropped_[hold.group] += next - from;
  }
}

bool KeptSegments::remove_oldest(SparePool& spares) {
  MXRING_ASSERT(!segments_.empty());
  const SealedSegment oldest = segments_.front();
  const std::string name = oldest.file_name();
  const bool worth_it = oldest.file_bytes >= place_.segment_bytes / 2;
  const bool gone = (worth_it && spares.recycle(name)) ||
                    ::unlinkat(place_.directory_fd, name.c_str(), 0) == 0 || errno == ENOENT;
  if (!gone) {
    MXRING_PROBE("retention: a segment cannot be removed");
    if (troubled_file_ != name) {
      trouble_ = "retention cannot remove " + name + ": " + std::system_category().message(errno);
    }
    troubled_file_ = name;
    return false;
  }
  // The index of a set-aside segment's name belongs to another segment.
  if (oldest.set_aside == 0) {
    ::unlinkat(place_.directory_fd, index_name(oldest.base_offset).c_str(), 0);
  }
  MXRING_PROBE("retention: the oldest goes");
  segments_.pop_front();
  MXRING_ASSERT(bytes_ >= oldest.file_bytes);
  bytes_ -= oldest.file_bytes;
  return true;
}

void KeptSegments::note(const SealedSegment& gone, std::uint64_t next_offset, RemovedFor why) {
  const bool joins = !removals_.empty() && removals_.back().why == why;
  if (!joins) removals_.push_back({why, 0, 0, gone.base_offset, gone.base_offset});
  Removal& removal = removals_.back();
  MXRING_ASSERT(removal.why == why && removal.first_offset <= gone.base_offset);
  ++removal.segments;
  removal.bytes += gone.file_bytes;
  removal.next_offset = std::max(removal.next_offset, next_offset);
}

std::vector<Removal> KeptSegments::take_removals() {
  return std::exchange(removals_, {});
}

std::string KeptSegments::take_trouble() {
  return std::exchange(trouble_, {});
}

void KeptSegments::invariants() const {
  std::uint64_t bytes = 0;
  for (const SealedSegment& segment : segments_) bytes += segment.file_bytes;
  MXRING_ASSERT(bytes == bytes_);
}

}  // namespace mxring::seglog
