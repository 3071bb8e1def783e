// How much room the log's disk has, against the reserve of [limits], and how that is said. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/limits.h"

namespace mxring::server {

struct DiskRoom {
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = 0;  // of the file system
  bool refused = false;           // a write found no room although there was some: a quota

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
  bool low(const DiskRoom& room) const { return room.refused || room.free_bytes < bytes(room); }

  // Why mail is put off, in one line: "LOG: 51 MiB free, below the reserve of 1 GiB (...); ...".
  std::string why_low(std::string_view log, const DiskRoom& room) const;
  static std::string there_is_room(std::string_view log, const DiskRoom& room);

 private:
  std::uint32_t percent_;
  std::uint32_t segments_;
  std::uint64_t segment_bytes_;
};

}  // namespace mxring::server
