#include "server/disk_room.h"

#include <gtest/gtest.h>

namespace mxring::server {
namespace {

constexpr std::uint64_t kGiB = 1024 * base::kMiB;

TEST(DiskRoom, SegmentsAreTheReserveOfASmallDisk) {
  const DiskReserve reserve(base::Limits{}, 256 * base::kMiB);
  const DiskRoom room{.free_bytes = 51 * base::kMiB, .total_bytes = 10 * kGiB};
  EXPECT_TRUE(reserve.low(room));
  EXPECT_EQ(reserve.why_low("/a log", room),
            "/a log: 51 MiB free, below the reserve of 1 GiB (limits.disk_reserve_segments = 4 of "
            "256 MiB); mail is put off with 452 4.3.1 until there is room");
  EXPECT_FALSE(reserve.low({.free_bytes = kGiB, .total_bytes = 10 * kGiB}));
}

TEST(DiskRoom, AShareIsTheReserveOfALargeDisk) {
  const DiskReserve reserve(base::Limits{}, 256 * base::kMiB);
  const DiskRoom room{.free_bytes = 30 * kGiB, .total_bytes = 1000 * kGiB};
  EXPECT_TRUE(reserve.low(room));
  EXPECT_EQ(reserve.why_low("log", room),
            "log: 30 GiB free, below the reserve of 50 GiB (limits.disk_reserve_percent = 5 of "
            "1000 GiB); mail is put off with 452 4.3.1 until there is room");
}

TEST(DiskRoom, AQuotaIsNamedAsSuch) {
  const DiskReserve reserve(base::Limits{}, 256 * base::kMiB);
  const DiskRoom room{.free_bytes = 2 * kGiB, .total_bytes = 10 * kGiB, .refused = true};
  EXPECT_TRUE(reserve.low(room));
  EXPECT_EQ(reserve.why_low("log", room),
            "log: 2 GiB free, but a write found no room: is there a quota? mail is put off with "
            "452 4.3.1 until there is room");
}

}  // namespace
}  // namespace mxring::server
