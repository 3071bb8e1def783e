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

TEST(DiskRoom, WhatIsLackingIsNamedAsSuch) {
  const DiskReserve reserve(base::Limits{}, 256 * base::kMiB);
  const auto why = [&](seglog::NoRoom no_room) {
    const DiskRoom room{.free_bytes = 2 * kGiB, .total_bytes = 10 * kGiB, .refused = no_room};
    EXPECT_TRUE(reserve.low(room));
    return reserve.why_low("log", room);
  };
  const std::string end = "; mail is put off with 452 4.3.1 until there is room";
  EXPECT_EQ(why(seglog::NoRoom::kQuota),
            "log: 2 GiB free, but the receiver's quota is used up" + end);
  EXPECT_EQ(why(seglog::NoRoom::kDisk),
            "log: 2 GiB free, and not enough for another segment" + end);
  EXPECT_EQ(why(seglog::NoRoom::kFiles),
            "log: 2 GiB free, but the file system has no inodes left" + end);
  EXPECT_NE(why(seglog::NoRoom::kFileSize).find("ulimit -f"), std::string::npos);
}

TEST(DiskRoom, TheNextSegmentIsLookedAtBeforeItIsTaken) {
  const DiskReserve reserve(base::Limits{}, 256 * base::kMiB);
  DiskRoom room{.free_bytes = kGiB + 255 * base::kMiB, .total_bytes = 10 * kGiB};
  EXPECT_FALSE(reserve.low(room));
  room.needed_bytes = 256 * base::kMiB;
  EXPECT_TRUE(reserve.low(room));
  EXPECT_EQ(reserve.why_low("log", room),
            "log: 1.25 GiB free, and the next segment of 256 MiB would not leave the reserve of 1 "
            "GiB (limits.disk_reserve_segments = 4 of 256 MiB); mail is put off with 452 4.3.1 "
            "until there is room");
  room.free_bytes += base::kMiB;
  EXPECT_FALSE(reserve.low(room));
}

}  // namespace
}  // namespace mxring::server
