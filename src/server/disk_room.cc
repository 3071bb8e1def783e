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

std::string DiskReserve::why_low(std::string_view log, const DiskRoom& room) const {
  constexpr std::string_view kPutOff = "mail is put off with 452 4.3.1 until there is room";
  if (room.free_bytes >= bytes(room)) {
    return fmt::format("{}: {} free, but a write found no room: is there a quota? {}",
                       base::escaped(log), size(room.free_bytes), kPutOff);
  }
  const bool share = by_share(percent_, room) > segments_ * segment_bytes_;
  const std::string rule =
      share
          ? fmt::format("limits.disk_reserve_percent = {} of {}", percent_, size(room.total_bytes))
          : fmt::format("limits.disk_reserve_segments = {} of {}", segments_, size(segment_bytes_));
  return fmt::format("{}: {} free, below the reserve of {} ({}); {}", base::escaped(log),
                     size(room.free_bytes), size(bytes(room)), rule, kPutOff);
}

std::string DiskReserve::there_is_room(std::string_view log, const DiskRoom& room) {
  return fmt::format("{}: {} free: there is room again, mail is accepted", base::escaped(log),
                     size(room.free_bytes));
}

}  // namespace mxring::server
