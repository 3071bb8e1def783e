// Measurements on the machine the tests run on: within bounds, nothing left behind.
#include "tune/measure.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>

#include "tests/support/temp_dir.h"
#include "tune/check.h"

namespace mxring::tune {
namespace {

MeasureOptions options_for(const test::TempDir& directory) {
  MeasureOptions options;
  options.directory = directory.path().string();
  options.free_bytes = find_log_place(options.directory).free_bytes;
  return options;
}

TEST(MeasureTest, CommitsTakeTimeAndLeaveNothing) {
  const test::TempDir directory;
  const MeasureOptions options = options_for(directory);
  Measured measured;
  const auto begin = std::chrono::steady_clock::now();
  measure_commits(options, measured);
  const auto seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(seconds, std::chrono::seconds(20));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  if (!measured.commits_skipped.empty()) GTEST_SKIP() << measured.commits_skipped;
  ASSERT_EQ(measured.commits.size(), 5U);
  for (const CommitCost& cost : measured.commits) {
    EXPECT_GE(cost.commits, 5U);
    EXPECT_LE(cost.commits, 100U);
    EXPECT_GT(cost.p50_ns, 0);
    EXPECT_GE(cost.p99_ns, cost.p50_ns);
  }
}

TEST(MeasureTest, ADiskThatIsFullOrForbiddenIsSkipped) {
  const test::TempDir directory;
  MeasureOptions options = options_for(directory);
  Measured measured;
  options.free_bytes = 1 << 20;
  measure_commits(options, measured);
  EXPECT_TRUE(measured.commits.empty());
  EXPECT_NE(measured.commits_skipped.find("free"), std::string::npos);
  options.free_bytes = 1ULL << 40;
  options.directory += "/none";
  measure_commits(options, measured);
  EXPECT_NE(measured.commits_skipped.find("no file can be made"), std::string::npos);
}

TEST(MeasureTest, TheBacklogBoundsABurst) {
  MeasureOptions options;
  options.backlog = 64;
  Measured measured;
  measure_burst(options, measured);
  if (!measured.burst_skipped.empty()) GTEST_SKIP() << measured.burst_skipped;
  EXPECT_EQ(measured.burst, 64U);
  EXPECT_GE(measured.burst_taken, 60U);
}

TEST(MeasureTest, ClockAndCalls) {
  Measured measured;
  measure_clock(measured);
  EXPECT_GT(measured.clock_ns, 0);
  EXPECT_LT(measured.clock_ns, 100'000);
  EXPECT_GT(measured.system_call_ns, 0);
  measure_waking(measured);
  EXPECT_GT(measured.busy_ns, 1000);
  EXPECT_GT(measured.woken_ns, measured.busy_ns / 2);
}

TEST(LogPlaceTest, TheNearestFolderAboveIsLookedAt) {
  const test::TempDir directory;
  const LogPlace place = find_log_place((directory.path() / "a/b/log").string());
  EXPECT_EQ(place.existing, directory.path().string());
  EXPECT_TRUE(place.problem.empty());
  EXPECT_GT(place.total_bytes, 0U);
  EXPECT_FALSE(find_log_place("/proc/self/status/log").problem.empty());
}

}  // namespace
}  // namespace mxring::tune
