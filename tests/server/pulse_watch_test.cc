// Which threads stand still, by their pulses.
#include "server/pulse_watch.h"

#include <gtest/gtest.h>

namespace mxring::server {
namespace {

constexpr base::MonoTime kNow{1000 * base::kNsPerSecond};

std::vector<Pulse> pulses(std::uint64_t shard, std::uint64_t writer) {
  return {{.thread = "shard-0", .progress = shard}, {.thread = "writer", .progress = writer}};
}

TEST(PulseWatchTest, WhoMovesLives) {
  EXPECT_TRUE(standing_still(pulses(1, 1), pulses(2, 5), kNow).empty());
}

TEST(PulseWatchTest, WhoDoesNotMoveIsNamed) {
  EXPECT_EQ(standing_still(pulses(1, 1), pulses(1, 2), kNow), std::vector<std::string>{"shard-0"});
  EXPECT_EQ(standing_still(pulses(1, 1), pulses(1, 1), kNow).size(), 2U);
}

TEST(PulseWatchTest, OneThatHasEndedIsNotWaitedFor) {
  auto after = pulses(1, 2);
  after[0].ended = true;
  EXPECT_TRUE(standing_still(pulses(1, 1), after, kNow).empty());
}

TEST(PulseWatchTest, ASyncMayTakeFiveMinutes) {
  auto after = pulses(2, 1);
  after[1].committing_since_ns = kNow.ns - kSyncAliveNs + 1;
  EXPECT_TRUE(standing_still(pulses(1, 1), after, kNow).empty());
  after[1].committing_since_ns = kNow.ns - kSyncAliveNs;
  EXPECT_EQ(standing_still(pulses(1, 1), after, kNow), std::vector<std::string>{"writer"});
}

}  // namespace
}  // namespace mxring::server
