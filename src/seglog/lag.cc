#include "seglog/lag.h"

#include <algorithm>

#include "base/assert.h"
#include "seglog/log_end.h"
#include "seglog/segment_seek.h"

namespace mxring::seglog {

namespace {

class Measure {
 public:
  explicit Measure(int log_fd) : log_fd_(log_fd), end_(log_fd) {
    end_.refresh();
    bases_ = list_segments(log_fd).value_or(std::vector<std::uint64_t>{});
  }

  Offset end() const { return end_.offset(); }
  Offset first() const { return bases_.empty() ? end() : std::min(bases_.front(), end()); }

  // Of all segments from the one of `next` on, with what comes before `next` in it left out.
  Lag from(Offset next) {
    Lag lag;
    next = std::max(next, first());
    if (next >= end()) return lag;
    lag.records = end() - next;
    const auto after = std::upper_bound(bases_.begin(), bases_.end(), next);
    for (auto base = after == bases_.begin() ? after : after - 1; base != bases_.end(); ++base) {
      const auto segment = open_segment(log_fd_, *base);
      if (!segment) continue;
      const std::uint64_t limit = end_.limit(*segment);
      SegmentCursor cursor(kHeadersAhead);
      if (*base <= next) {
        seek_in_segment(log_fd_, *segment, limit, next, cursor);
      } else {
        cursor.start(segment->file.fd(), segment->key(), kHeaderBlockBytes, *base);
      }
      lag.bytes += limit - std::min(limit, cursor.position());
      if (lag.oldest_us == 0) lag.oldest_us = first_time(cursor, limit);
    }
    return lag;
  }

 private:
  // Of headers alone: what is read ahead is mostly messages.
  static constexpr std::uint64_t kHeadersAhead = 4096;
  static constexpr int kDamagedMax = 1000;

  static std::int64_t first_time(SegmentCursor& cursor, std::uint64_t limit) {
    for (int i = 0; i < kDamagedMax; ++i) {
      const auto event = cursor.read(limit, false);
      if (event.kind == SegmentCursor::Kind::kRecord) return event.header.received_at_us;
      if (event.end <= event.position) return 0;
      cursor.advance(event);
    }
    return 0;
  }

  int log_fd_;
  LogEnd end_;
  std::vector<std::uint64_t> bases_;
};

}  // namespace

Lag measure_lag(int log_fd, Offset next) {
  return Measure(log_fd).from(next);
}

std::uint64_t bytes_between(int log_fd, Offset from, Offset to) {
  Measure measure(log_fd);
  const std::uint64_t longer = measure.from(std::min(from, to)).bytes;
  const std::uint64_t shorter = measure.from(std::max(from, to)).bytes;
  return longer - std::min(longer, shorter);
}

}  // namespace mxring::seglog
