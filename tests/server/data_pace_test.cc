// The pace of a message in invented time: windows, gaps, silence.
#include "server/data_pace.h"

#include <gtest/gtest.h>

namespace mxring::server {
namespace {

constexpr std::int64_t kSecond = base::kNsPerSecond;
using Verdict = DataPace::Verdict;

// A client that sends `bytes` every `every_ns`; what is said, and after how long.
struct Course {
  Verdict verdict = Verdict::kFine;
  std::int64_t seconds = 0;
};

Course course(const base::Limits& limits, std::uint64_t bytes, std::int64_t every_ns,
              std::int64_t for_ns) {
  DataPace pace;
  base::MonoTime now{5 * kSecond};
  const base::MonoTime begin = now;
  pace.begin(now);
  std::int64_t next_ns = every_ns;
  for (std::int64_t passed = 0; passed < for_ns; passed += kSecond / 2) {
    now = begin + passed;
    if (passed >= next_ns) {
      pace.add(bytes, now, limits);
      next_ns += every_ns;
    }
    const Verdict verdict = pace.look(now, limits);
    if (verdict != Verdict::kFine) return {verdict, passed / kSecond};
  }
  return {Verdict::kFine, for_ns / kSecond};
}

TEST(DataPace, ASteadyClientIsFine) {
  EXPECT_EQ(course({}, 600, kSecond, 3600 * kSecond).verdict, Verdict::kFine);
  EXPECT_EQ(course({}, 6'000, 10 * kSecond, 3600 * kSecond).verdict, Verdict::kFine);
}

TEST(DataPace, ADribblerIsNot) {
  const Course dribble = course({}, 1, kSecond, 3600 * kSecond);
  EXPECT_EQ(dribble.verdict, Verdict::kTooSlow);
  EXPECT_GE(dribble.seconds, 60);
  EXPECT_LE(dribble.seconds, 71);
  EXPECT_EQ(course({}, 400, kSecond, 3600 * kSecond).verdict, Verdict::kTooSlow);
  // Just under the gap that does not count.
  EXPECT_EQ(course({}, 1, 10 * kSecond, 3600 * kSecond).verdict, Verdict::kTooSlow);
}

// One byte in each gap that is not counted: all gaps together are.
TEST(DataPace, GapsHaveALimitTogether) {
  const Course gaps = course({}, 1, 11 * kSecond, 3600 * kSecond);
  EXPECT_EQ(gaps.verdict, Verdict::kSilent);
  EXPECT_GE(gaps.seconds, 600);
  EXPECT_LE(gaps.seconds, 612);
  const Course pauses = course({}, 1'000'000, 250 * kSecond, 3600 * kSecond);
  EXPECT_EQ(pauses.verdict, Verdict::kSilent);
  EXPECT_GE(pauses.seconds, 600);
}

TEST(DataPace, ASilenceOfMinutesIsAllowed) {
  const base::Limits limits;
  DataPace pace;
  base::MonoTime now{};
  pace.begin(now);
  pace.add(2'000'000, now, limits);
  EXPECT_EQ(pace.look(now + 299 * kSecond, limits), Verdict::kFine);
  EXPECT_EQ(pace.look(now + 301 * kSecond, limits), Verdict::kSilent);
  now = now + 299 * kSecond;
  pace.add(1, now, limits);
  EXPECT_EQ(pace.look(now + 299 * kSecond, limits), Verdict::kFine);
  EXPECT_EQ(pace.look(now + 300 * kSecond, limits), Verdict::kFine);
  now = now + 299 * kSecond;
  pace.add(1, now, limits);
  EXPECT_EQ(pace.look(now + 5 * kSecond, limits), Verdict::kFine);
  EXPECT_EQ(pace.look(now + 11 * kSecond, limits), Verdict::kSilent) << "609 s in all";
}

TEST(DataPace, WhatTheServerDelaysIsForgiven) {
  const base::Limits limits;
  DataPace pace;
  base::MonoTime now{};
  pace.begin(now);
  for (int i = 0; i < 600; ++i) {
    now = now + 9 * kSecond;
    pace.forgive(now);
    pace.add(1, now, limits);
    ASSERT_EQ(pace.look(now, limits), Verdict::kFine) << i;
  }
}

TEST(DataPace, AnySpeedIsAnySpeed) {
  base::Limits limits;
  limits.data_rate_bytes = 0;
  EXPECT_EQ(course(limits, 1, 9 * kSecond, 7200 * kSecond).verdict, Verdict::kFine);
}

TEST(DataPace, TicksOftenEnough) {
  base::Limits limits;
  EXPECT_EQ(DataPace::tick_ns(limits), 10 * kSecond);
  limits.data_silence_ns = 2 * kSecond;
  EXPECT_EQ(DataPace::tick_ns(limits), kSecond / 2);
}

}  // namespace
}  // namespace mxring::server
