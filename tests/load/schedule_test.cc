// Rates as written, and the exact times they stand for.
#include "load/schedule.h"

#include <gtest/gtest.h>

#include <set>

#include "base/clock.h"

namespace mxring::load {
namespace {

TEST(RateTest, ReadsRates) {
  EXPECT_DOUBLE_EQ(Rate::parse("1000/s")->per_second(), 1000);
  EXPECT_DOUBLE_EQ(Rate::parse("1000")->per_second(), 1000);
  EXPECT_DOUBLE_EQ(Rate::parse("0.5/s")->per_second(), 0.5);
  EXPECT_DOUBLE_EQ(Rate::parse("12.125")->per_second(), 12.125);
  EXPECT_DOUBLE_EQ(Rate::parse("90/m")->per_second(), 1.5);
  EXPECT_DOUBLE_EQ(Rate::parse("1800/h")->per_second(), 0.5);
  EXPECT_DOUBLE_EQ(Rate::parse("10000000/s")->per_second(), 1e7);
}

TEST(RateTest, RefusesWhatIsNone) {
  for (const char* text :
       {"", "0", "0/s", "0.000", "-5/s", "x", "5x", "5/d", "5/", "/s", "1.", ".5x", "1.2345/s",
        "10000001/s", "99999999999999999999", "1e3", " 5", "5 /s"}) {
    EXPECT_FALSE(Rate::parse(text).has_value()) << text;
  }
}

TEST(ScheduleTest, IsExactHoweverLongTheRun) {
  const Schedule third(*Rate::parse("3/s"), 0, 1);
  EXPECT_EQ(third.planned_ns(0), 0);
  EXPECT_EQ(third.planned_ns(1), 333'333'333);
  EXPECT_EQ(third.planned_ns(2), 666'666'666);
  EXPECT_EQ(third.planned_ns(3), base::kNsPerSecond);
  // A year later it is still on the second: no rounding has added up.
  const std::uint64_t year_s = 365 * 86'400;
  EXPECT_EQ(third.planned_ns(3 * year_s), static_cast<std::int64_t>(year_s) * base::kNsPerSecond);

  const Schedule fast(*Rate::parse("9999991/s"), 0, 1);
  EXPECT_EQ(fast.planned_ns(9'999'991ULL * 86'400), 86'400 * base::kNsPerSecond);
}

TEST(ScheduleTest, WorkersShareTheRunWithoutGapOrOverlap) {
  const Rate rate = *Rate::parse("700/s");
  constexpr std::uint32_t kWorkers = 3;
  const Schedule whole(rate, 0, 1);
  std::multiset<std::uint64_t> numbers;
  for (std::uint32_t worker = 0; worker < kWorkers; ++worker) {
    const Schedule schedule(rate, worker, kWorkers);
    const std::uint64_t count = schedule.count_among(1000);
    for (std::uint64_t nth = 0; nth < count; ++nth) {
      numbers.insert(schedule.number(nth));
      EXPECT_EQ(schedule.planned_ns(nth), whole.planned_ns(schedule.number(nth)));
    }
  }
  EXPECT_EQ(numbers.size(), 1000U);
  EXPECT_EQ(*numbers.begin(), 0U);
  EXPECT_EQ(*numbers.rbegin(), 999U);
  EXPECT_EQ(std::set<std::uint64_t>(numbers.begin(), numbers.end()).size(), 1000U);
}

TEST(ScheduleTest, CountsExactlyWhatIsDueBefore) {
  for (const char* text : {"3/s", "700/s", "0.7/s", "999983/s", "61/m", "1000/s"}) {
    const Rate rate = *Rate::parse(text);
    for (const std::uint32_t workers : {1U, 2U, 5U}) {
      for (std::uint32_t worker = 0; worker < workers; ++worker) {
        const Schedule schedule(rate, worker, workers);
        EXPECT_EQ(schedule.count_before(0), 0U);
        for (std::uint64_t nth = 0; nth < 50; ++nth) {
          const std::int64_t planned = schedule.planned_ns(nth);
          EXPECT_EQ(schedule.count_before(planned), nth) << text;
          EXPECT_EQ(schedule.count_before(planned + 1), nth + 1) << text;
        }
      }
    }
  }
  EXPECT_EQ(Schedule(*Rate::parse("1000/s"), 0, 1).count_before(10 * base::kNsPerSecond), 10'000U);
}

}  // namespace
}  // namespace mxring::load
