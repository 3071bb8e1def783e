#include "seglog/kept_segments.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "base/assert.h"
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

void KeptSegments::retire(const Active& active, SparePool& spares) {
  while (!segments_.empty()) {
    const SealedSegment oldest = segments_.front();
    const auto why = retention_.due({oldest.newest_us, bytes_ + active.bytes});
    if (!why) break;
    if (!remove_oldest(spares)) return;  // the next call tries again
    const std::uint64_t next =
        segments_.empty() ? active.base_offset : segments_.front().base_offset;
    note(oldest, next, *why);
    retention_.note_removed(*why);
  }
  const bool none_overdue = segments_.empty() || !retention_.overdue(segments_.front().newest_us);
  if (none_overdue) retention_.note_none_overdue();
  invariants();
}

bool KeptSegments::remove_oldest(SparePool& spares) {
  const SealedSegment oldest = segments_.front();
  const std::string name = oldest.file_name();
  const bool worth_it = oldest.file_bytes >= place_.segment_bytes / 2;
  const bool gone = (worth_it && spares.recycle(name)) ||
                    ::unlinkat(place_.directory_fd, name.c_str(), 0) == 0 || errno == ENOENT;
  if (!gone) {
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
  segments_.pop_front();
  bytes_ -= oldest.file_bytes;
  return true;
}

void KeptSegments::note(const SealedSegment& gone, std::uint64_t next_offset, RemovedFor why) {
  const bool joins = !removals_.empty() && removals_.back().why == why;
  if (!joins) removals_.push_back({why, 0, 0, gone.base_offset, gone.base_offset});
  Removal& removal = removals_.back();
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
