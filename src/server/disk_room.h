// How much room the log's disk has, against the reserve of [limits], and how that is said. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/limits.h"
#include "seglog/no_room.h"

namespace mxring::server {

struct DiskRoom {
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = 0;   // of the file system
  std::uint64_t needed_bytes = 0;  // what the next segment is about to take
  // A segment could not be made, for lack of this.
  std::optional<seglog::NoRoom> refused = std::nullopt;
  // Groups keep more than they may (groups.hold_bytes); 0: they do not.
  std::uint64_t held_bytes = 0;

  friend bool operator==(const DiskRoom&, const DiskRoom&) = default;
};

class DiskReserve {
 public:
  DiskReserve(const base::Limits& limits, std::uint64_t segment_bytes)
      : percent_(limits.disk_reserve_percent),
        segments_(limits.disk_reserve_segments),
        segment_bytes_(segment_bytes) {}

  std::uint64_t bytes(const DiskRoom& room) const;
  // Whether mail is put off.
  bool low(const DiskRoom& room) const {
    return room.refused || room.held_bytes != 0 ||
           room.free_bytes < bytes(room) + room.needed_bytes;
  }

  // Why mail is put off, in one line: "LOG: 51 MiB free, below the reserve of 1 GiB (...); ...".
  std::string why_low(std::string_view log, const DiskRoom& room) const;
  static std::string there_is_room(std::string_view log, const DiskRoom& room);

 private:
  std::string rule(const DiskRoom& room) const;
  std::string why_refused(const DiskRoom& room) const;

  std::uint32_t percent_;
  std::uint32_t segments_;
  std::uint64_t segment_bytes_;
};

}  // namespace mxring::server
