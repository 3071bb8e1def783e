// Retention by clocks that are wrong: pure, in invented time.
#include "seglog/retention.h"

#include <gtest/gtest.h>

namespace mxring::seglog::test {
namespace {

constexpr std::int64_t kDayUs = 86'400'000'000;
constexpr std::int64_t kHourNs = 3600 * base::kNsPerSecond;
constexpr std::int64_t kStartUs = 1'790'000'000'000'000;

class Clock {
 public:
  base::Now now() const { return {{mono_ns_}, {kStartUs + mono_ns_ / 1000 + shift_us_}}; }
  void pass(std::int64_t ns) { mono_ns_ += ns; }
  void shift(std::int64_t us) { shift_us_ += us; }

 private:
  std::int64_t mono_ns_ = 5'000'000'000;
  std::int64_t shift_us_ = 0;
};

class RetentionTest : public ::testing::Test {
 protected:
  Retention retention_{{.bytes = 0, .age_ns = 30 * 24 * kHourNs}};
  Clock clock_;

  bool goes(std::int64_t age_us) const {
    return retention_.due({kStartUs - age_us, 1000}).has_value();
  }
  void each_second(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      clock_.pass(base::kNsPerSecond);
      retention_.look(clock_.now());
    }
  }
};

TEST_F(RetentionTest, ByAge) {
  retention_.begin(clock_.now(), kStartUs);
  EXPECT_FALSE(goes(29 * kDayUs));
  EXPECT_TRUE(goes(31 * kDayUs));
}

TEST_F(RetentionTest, BytesDoNotAskTheClock) {
  Retention retention({.bytes = 999, .age_ns = 0});
  EXPECT_EQ(retention.due({0, 1000}), RemovedFor::kBytes);
  EXPECT_FALSE(retention.due({0, 999}));
}

TEST_F(RetentionTest, AMinuteIsAJumpInEitherDirection) {
  for (const std::int64_t us : {Retention::kMovedUs, -Retention::kMovedUs}) {
    Retention retention({.bytes = 0, .age_ns = 30 * 24 * kHourNs});
    Clock clock;
    retention.begin(clock.now(), kStartUs);
    clock.shift(us);
    retention.look(clock.now());
    EXPECT_FALSE(retention.due({0, 1})) << us;
    EXPECT_EQ(retention.take_moved_us(), us);
    EXPECT_FALSE(retention.take_moved_us()) << "said once";
  }
}

// Many small steps within an hour are one large one.
TEST_F(RetentionTest, StepsAddUp) {
  retention_.begin(clock_.now(), kStartUs);
  for (int i = 0; i < 7; ++i) {
    clock_.shift(10'000'000);
    each_second(1);
  }
  EXPECT_FALSE(goes(400 * kDayUs));
}

// What a time server does to a clock that is a little wrong, for days.
TEST_F(RetentionTest, SlewingIsNoJump) {
  retention_.begin(clock_.now(), kStartUs);
  for (int hour = 0; hour < 100; ++hour) {
    clock_.pass(kHourNs);
    clock_.shift(1'800'000);
    retention_.look(clock_.now());
  }
  EXPECT_TRUE(goes(31 * kDayUs));
  EXPECT_FALSE(retention_.take_moved_us());
}

TEST_F(RetentionTest, AfterAnHourTwoForEachFilledUntilNothingIsOverdue) {
  retention_.begin(clock_.now(), kStartUs);
  clock_.shift(400 * kDayUs);
  retention_.look(clock_.now());
  retention_.note_filled();
  EXPECT_FALSE(goes(0)) << "within the hour also a filled segment sets nothing free";
  clock_.pass(kHourNs);
  retention_.look(clock_.now());
  EXPECT_FALSE(goes(0));
  for (int filled = 0; filled < 3; ++filled) {
    retention_.note_filled();
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE(goes(0));
      retention_.note_removed(RemovedFor::kAge);
    }
    EXPECT_FALSE(goes(0)) << "the third has to wait";
  }
  retention_.note_none_overdue();
  EXPECT_TRUE(goes(0)) << "caught up: the clock is believed";
}

TEST_F(RetentionTest, ASecondJumpBeginsAnew) {
  retention_.begin(clock_.now(), kStartUs);
  clock_.shift(400 * kDayUs);
  retention_.look(clock_.now());
  clock_.pass(kHourNs / 2);
  clock_.shift(-400 * kDayUs);
  retention_.look(clock_.now());
  clock_.pass(kHourNs * 3 / 4);
  retention_.look(clock_.now());
  retention_.note_filled();
  EXPECT_FALSE(goes(31 * kDayUs));
}

// The clock may have been wrong before we were started.
TEST_F(RetentionTest, AStartFarFromTheNewestRecordIsAJump) {
  for (const std::int64_t newest_us : {kStartUs - 400 * kDayUs, kStartUs + 2 * kDayUs}) {
    Retention retention({.bytes = 0, .age_ns = 30 * 24 * kHourNs});
    retention.begin(clock_.now(), newest_us);
    EXPECT_FALSE(retention.due({0, 1}));
  }
  Retention near({.bytes = 0, .age_ns = 30 * 24 * kHourNs});
  near.begin(clock_.now(), kStartUs - kDayUs / 2);
  EXPECT_TRUE(near.due({0, 1}));
  Retention empty({.bytes = 0, .age_ns = 30 * 24 * kHourNs});
  empty.begin(clock_.now(), 0);
  EXPECT_TRUE(empty.due({0, 1}));
}

}  // namespace
}  // namespace mxring::seglog::test
