#include "server/disk_room.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"
#include "base/units.h"

namespace mxring::server {

namespace {

std::uint64_t by_share(std::uint32_t percent, const DiskRoom& room) {
  return room.total_bytes / 100 * percent;
}

// "256 MiB" where format_bytes() says "256.0 MiB".
std::string size(std::uint64_t bytes) {
  std::string text = base::format_bytes(bytes);
  for (const std::string_view zeros : {".00 ", ".0 "}) {
    const std::size_t at = text.find(zeros);
    if (at != text.npos) text.erase(at, zeros.size() - 1);
  }
  return text;
}

}  // namespace

std::uint64_t DiskReserve::bytes(const DiskRoom& room) const {
  return std::max(by_share(percent_, room), segments_ * segment_bytes_);
}

// "1 GiB (limits.disk_reserve_segments = 4 of 256 MiB)"
std::string DiskReserve::rule(const DiskRoom& room) const {
  const bool share = by_share(percent_, room) > segments_ * segment_bytes_;
  return share ? fmt::format("{} (limits.disk_reserve_percent = {} of {})", size(bytes(room)),
                             percent_, size(room.total_bytes))
               : fmt::format("{} (limits.disk_reserve_segments = {} of {})", size(bytes(room)),
                             segments_, size(segment_bytes_));
}

std::string DiskReserve::why_refused(const DiskRoom& room) const {
  switch (*room.refused) {
    case seglog::NoRoom::kDisk:
      return fmt::format("{} free, and not enough for another segment", size(room.free_bytes));
    case seglog::NoRoom::kFiles:
      return fmt::format("{} free, but the file system has no inodes left", size(room.free_bytes));
    case seglog::NoRoom::kQuota:
      return fmt::format("{} free, but the receiver's quota is used up", size(room.free_bytes));
    case seglog::NoRoom::kFileSize:
      return fmt::format(
          "{} free, but this process may not write a file as large as a segment of {}: raise "
          "\"ulimit -f\", LimitFSIZE= in the unit, or lower log.segment_bytes",
          size(room.free_bytes), size(segment_bytes_));
  }
  return {};
}

std::string DiskReserve::why_low(std::string_view log, const DiskRoom& room) const {
  std::string why;
  if (room.free_bytes < bytes(room)) {
    why = fmt::format("{} free, below the reserve of {}", size(room.free_bytes), rule(room));
  } else if (room.refused) {
    why = why_refused(room);
  } else if (room.held_bytes != 0) {
    why = fmt::format(
        "groups keep {} that retention would have taken, more than "
        "groups.hold_bytes allows (`mxring groups list` shows which)",
        size(room.held_bytes));
  } else {
    why = fmt::format("{} free, and the next segment of {} would not leave the reserve of {}",
                      size(room.free_bytes), size(room.needed_bytes), rule(room));
  }
  return fmt::format("{}: {}; mail is put off with 452 4.3.1 until there is room",
                     base::escaped(log), why);
}

std::string DiskReserve::there_is_room(std::string_view log, const DiskRoom& room) {
  return fmt::format("{}: {} free: there is room again, mail is accepted", base::escaped(log),
                     size(room.free_bytes));
}

}  // namespace mxring::server
