// Preparing segments where there is no room: the disk is asked first, and left alone for a while
// after a failure, except by who needs a segment now.
#include "seglog/spare_pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

#include "seglog/log_directory.h"
#include "tests/support/temp_dir.h"

namespace mxring::seglog::test {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
using uring::FaultPlan;
using uring::FaultPoint;

constexpr std::uint64_t kFileBytes = 64 << 10;
constexpr std::uint64_t kMoreThanAnyDisk = 1ULL << 60;

class SparePoolTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = ReadFile(::open(temp_.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(directory_.is_open());
  }

  SparePool::Options options() {
    return {.directory = temp_.path().string(),
            .directory_fd = directory_.fd(),
            .file_bytes = kFileBytes,
            .faults = &plan_};
  }

  std::size_t files() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(temp_.path())) {
      count += entry.path().filename().string().starts_with("spare-") ? 1 : 0;
    }
    return count;
  }

  // Asks for a file again and again, as maintain() does, until so many attempts were made.
  void refill_until(SparePool& pool, std::uint64_t attempts, milliseconds at_most) {
    const auto end = Clock::now() + at_most;
    while (plan_.count(FaultPoint::kFileOpen) < attempts && Clock::now() < end) {
      pool.refill();
      std::this_thread::sleep_for(milliseconds(2));
    }
  }

  mxring::test::TempDir temp_;
  ReadFile directory_;
  FaultPlan plan_;
};

TEST_F(SparePoolTest, NothingIsPreparedFromTheDiskReserve) {
  for (const bool in_percent : {false, true}) {
    auto with = options();
    with.reserve_percent = in_percent ? 100 : 0;
    with.reserve_bytes = in_percent ? 0 : kMoreThanAnyDisk;
    SparePool pool(with);
    pool.start();
    refill_until(pool, 1, milliseconds(200));
    EXPECT_EQ(plan_.count(FaultPoint::kFileOpen), 0U);
    EXPECT_EQ(files(), 0U);
  }
}

TEST_F(SparePoolTest, WhatIsNeededNowMayUseTheReserve) {
  auto with = options();
  with.reserve_bytes = kMoreThanAnyDisk;
  SparePool pool(with);
  pool.start();
  const auto spare = pool.take(kFileBytes);
  ASSERT_TRUE(spare);
  EXPECT_EQ(spare->bytes, kFileBytes);
}

TEST_F(SparePoolTest, TheDiskIsAskedBeforeItIsFilled) {
  auto with = options();
  with.write_zeros = false;  // a test that fails fills no disk
  SparePool pool(with);
  const auto spare = pool.make(kMoreThanAnyDisk);
  ASSERT_FALSE(spare);
  EXPECT_EQ(spare.error(), ENOSPC);
  EXPECT_EQ(plan_.count(FaultPoint::kFileAllocate), 0U);
  EXPECT_EQ(files(), 0U);
}

TEST_F(SparePoolTest, AfterAFailureItWaitsLongerEachTimeUpToABound) {
  plan_.add({.point = FaultPoint::kFileOpen, .every_from_nth = true, .error = EMFILE});
  constexpr milliseconds kFirst(100);
  constexpr milliseconds kMax(200);
  auto with = options();
  with.retry_first_ns = kFirst.count() * base::kNsPerMs;
  with.retry_max_ns = kMax.count() * base::kNsPerMs;
  SparePool pool(with);
  pool.start();
  refill_until(pool, 1, milliseconds(10'000));
  const auto begin = Clock::now();
  for (std::uint64_t attempt = 2; attempt <= 12; ++attempt) {  // doubled each time: 200 s
    refill_until(pool, attempt, milliseconds(10'000));
    ASSERT_EQ(plan_.count(FaultPoint::kFileOpen), attempt);
  }
  EXPECT_GT(Clock::now() - begin, 8 * kMax) << "eleven waits, all but the first of 200 ms";
}

TEST_F(SparePoolTest, WhoNeedsAFileDoesNotWaitAndItsSuccessEndsTheWait) {
  plan_.add({.point = FaultPoint::kFileOpen, .nth = 0, .error = EMFILE});
  SparePool pool(options());  // thirty seconds
  pool.start();
  refill_until(pool, 1, milliseconds(10'000));
  ASSERT_EQ(plan_.count(FaultPoint::kFileOpen), 1U);
  for (int i = 0; i < 20; ++i) {
    pool.refill();
    std::this_thread::sleep_for(milliseconds(2));
  }
  EXPECT_EQ(plan_.count(FaultPoint::kFileOpen), 1U);
  EXPECT_TRUE(pool.take(kFileBytes));
  EXPECT_EQ(plan_.count(FaultPoint::kFileOpen), 2U);
  refill_until(pool, 3, milliseconds(10'000));
  EXPECT_EQ(plan_.count(FaultPoint::kFileOpen), 3U);
}

}  // namespace
}  // namespace mxring::seglog::test
