#include "obs/stage_clock.h"

#include <gtest/gtest.h>

#include <ctime>
#include <thread>

namespace mxring::obs {
namespace {

constexpr std::uint64_t kMs = 1'000'000;

// Uses so much CPU time, however long that takes on a busy machine.
void spin(std::uint64_t ns) {
  timespec begin{};
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
  do {
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  } while (static_cast<std::uint64_t>((now.tv_sec - begin.tv_sec) * 1'000'000'000 + now.tv_nsec -
                                      begin.tv_nsec) < ns);
}

TEST(StageClock, OneTurnInManyCountsForAll) {
  CounterSet counters;
  StageClock clock(counters);
  constexpr std::uint32_t kTurns = 100'000;
  std::uint32_t measured = 0;
  for (std::uint32_t turn = 0; turn < kTurns; ++turn) {
    if (clock.begin_turn()) ++measured;
    if (clock.measuring() && measured <= 2) {
      const InStage parse(clock, Stage::kParse);
      spin(kMs);
      const InStage hash(clock, Stage::kHash);
      spin(2 * kMs);
    }
    clock.end_turn();
  }
  EXPECT_NEAR(measured, kTurns / StageClock::kEvery, kTurns / StageClock::kEvery / 10);
  const std::uint64_t parse = counters.get(Counter::kStageParseNs) / StageClock::kEvery;
  const std::uint64_t hash = counters.get(Counter::kStageHashNs) / StageClock::kEvery;
  EXPECT_GT(parse, 0U);
  EXPECT_GT(hash, 0U);
  EXPECT_GE(parse + hash, 6 * kMs);
  EXPECT_LT(parse + hash, 12 * kMs);
  EXPECT_EQ(counters.get(Counter::kStageReplyNs), 0U);
}

TEST(StageClock, WaitingInTheKernelIsNoWork) {
  CounterSet counters;
  StageClock clock(counters);
  ASSERT_TRUE(clock.begin_turn());
  const bool result = clock.in_kernel(Stage::kReceive, [] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return true;
  });
  clock.end_turn();
  EXPECT_TRUE(result);
  EXPECT_LT(counters.get(Counter::kStageReceiveNs) / StageClock::kEvery, 25 * kMs);
}

// As if another thread had been given the processor in the middle of parsing.
TEST(StageClock, AnInterruptionIsNoWork) {
  CounterSet counters;
  StageClock clock(counters);
  ASSERT_TRUE(clock.begin_turn());
  {
    const InStage parse(clock, Stage::kParse);
    spin(5 * kMs);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  {
    const InStage hash(clock, Stage::kHash);
    spin(2 * kMs);
  }
  clock.end_turn();
  EXPECT_EQ(counters.get(Counter::kTurnsMeasured), 1U);
  const std::uint64_t parse = counters.get(Counter::kStageParseNs) / StageClock::kEvery;
  EXPECT_LT(parse, 20 * kMs);
  EXPECT_GT(counters.get(Counter::kStageHashNs), 0U);
}

}  // namespace
}  // namespace mxring::obs
