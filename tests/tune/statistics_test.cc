// Intervals against tables of Student's t, and decisions at their edges.
#include "tune/statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace mxring::tune {
namespace {

TEST(StatisticsTest, StudentsT) {
  struct Entry {
    double confidence;
    unsigned degrees;
    double t;  // from printed tables
  };
  constexpr Entry kTable[] = {{0.95, 1, 12.706}, {0.95, 2, 4.303},  {0.95, 3, 3.182},
                              {0.95, 4, 2.776},  {0.95, 9, 2.262},  {0.95, 10, 2.228},
                              {0.95, 29, 2.045}, {0.95, 30, 2.042}, {0.95, 120, 1.980},
                              {0.99, 5, 4.032},  {0.90, 7, 1.895},  {0.50, 6, 0.718}};
  for (const Entry& entry : kTable) {
    EXPECT_NEAR(student_t(entry.confidence, entry.degrees), entry.t, 0.0006)
        << entry.confidence << ' ' << entry.degrees;
  }
}

TEST(StatisticsTest, Median) {
  EXPECT_EQ(median({}), 0);
  EXPECT_EQ(median(std::vector<double>{3}), 3);
  EXPECT_EQ(median(std::vector<double>{9, 1, 5}), 5);
  EXPECT_EQ(median(std::vector<double>{9, 1, 5, 7}), 6);
}

TEST(StatisticsTest, IntervalOfAMean) {
  // 1 2 3 4 5: deviation 1.5811, error 0.7071, t(4) = 2.776.
  const Interval interval = mean_interval(std::vector<double>{1, 2, 3, 4, 5}, 0.95);
  EXPECT_DOUBLE_EQ(interval.estimate, 3);
  EXPECT_NEAR(interval.low, 3 - 1.9634, 0.001);
  EXPECT_NEAR(interval.high, 3 + 1.9634, 0.001);
  EXPECT_TRUE(std::isinf(mean_interval(std::vector<double>{1}, 0.95).high));
  EXPECT_TRUE(std::isinf(mean_interval({}, 0.95).low));
}

// The true ratio lies inside as often as promised, though the machine's mood swings by half.
TEST(StatisticsTest, RatiosOfPairsHoldTheirPromise) {
  std::mt19937_64 random(7);
  std::normal_distribution<double> noise(0, 0.04);
  std::uniform_real_distribution<double> mood(1, 1.5);
  int inside = 0;
  constexpr int kTrials = 2000;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> base;
    std::vector<double> changed;
    for (int i = 0; i < 6; ++i) {
      const double now = 30 * mood(random);
      base.push_back(now * std::exp(noise(random)));
      changed.push_back(now * 0.9 * std::exp(noise(random)));
    }
    const Interval ratio = ratio_interval(base, changed, 0.95);
    inside += ratio.low <= 0.9 && 0.9 <= ratio.high ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(inside) / kTrials, 0.95, 0.02);
}

TEST(StatisticsTest, JudgementNeedsBothCertaintyAndSize) {
  EXPECT_EQ(judge({0.90, 0.85, 0.95}, 0.03), Finding::kBetter);
  EXPECT_EQ(judge({0.90, 0.79, 1.01}, 0.03), Finding::kNoise);  // not sure
  EXPECT_EQ(judge({0.98, 0.97, 0.99}, 0.03), Finding::kNoise);  // sure, but little
  EXPECT_EQ(judge({1.10, 1.05, 1.15}, 0.03), Finding::kWorse);
  EXPECT_EQ(judge({1.10, 0.99, 1.21}, 0.03), Finding::kNoise);
}

TEST(StatisticsTest, AGainAtACostIsNotTaken) {
  const Interval better{0.9, 0.88, 0.92};
  const Interval same{1.0, 0.98, 1.02};
  const Interval worse{1.2, 1.1, 1.3};
  const DecisionRule rule;
  EXPECT_EQ(decide({better, same, same}, rule), Decision::kTake);
  EXPECT_EQ(decide({better, same, worse}, rule), Decision::kKeepAtACost);
  EXPECT_EQ(decide({better, worse, same}, rule), Decision::kKeepAtACost);
  EXPECT_EQ(decide({same, better, better}, rule), Decision::kKeepNoise);
  EXPECT_EQ(decide({worse, better, better}, rule), Decision::kKeepWorse);
  const DecisionRule latency{Goal::kP99, 0.03, 0.05};
  EXPECT_EQ(decide({same, same, better}, latency), Decision::kTake);
  EXPECT_EQ(decide({worse, same, better}, latency), Decision::kKeepAtACost);
}

}  // namespace
}  // namespace mxring::tune
