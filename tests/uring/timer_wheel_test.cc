#include "uring/timer_wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

namespace mxring::uring {
namespace {

constexpr base::MonoTime kStart{1'000'000'000'123};
constexpr std::int64_t kTick = TimerWheel::kTickNs;
constexpr std::int64_t kSecond = base::kNsPerSecond;

base::MonoTime after(std::int64_t ns) {
  return kStart + ns;
}

TEST(TimerWheelTest, FiresWithinOneTickAndNeverEarly) {
  for (std::int64_t delay = 1; delay < 5 * kTick; delay += 37'777'777) {
    TimerWheel wheel(kStart);
    Timer timer;
    wheel.set(timer, after(delay));
    std::int64_t fired_at = -1;
    for (std::int64_t t = 0; t < 10 * kTick && fired_at < 0; t += 1'000'000) {
      wheel.advance(after(t), [&](Timer&) { fired_at = t; });
    }
    EXPECT_GE(fired_at, delay);
    EXPECT_LE(fired_at, delay + kTick + 1'000'000);
    EXPECT_FALSE(timer.armed());
    EXPECT_TRUE(wheel.empty());
  }
}

TEST(TimerWheelTest, DeadlineFurtherThanTheWheelGoesAroundAgain) {
  TimerWheel wheel(kStart);
  Timer timer;
  wheel.set(timer, after(1300 * kSecond));
  int fired = 0;
  for (std::int64_t s = 0; s < 1300; ++s)
    wheel.advance(after(s * kSecond), [&](Timer&) { ++fired; });
  EXPECT_EQ(fired, 0);
  EXPECT_TRUE(timer.armed());
  wheel.advance(after(1301 * kSecond), [&](Timer&) { ++fired; });
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, MovingADeadlineOutOrInIsHonoured) {
  TimerWheel wheel(kStart);
  Timer timer;
  std::vector<std::int64_t> fired;
  const auto run_to = [&](std::int64_t seconds) {
    wheel.advance(after(seconds * kSecond), [&](Timer&) { fired.push_back(seconds); });
  };
  wheel.set(timer, after(10 * kSecond));
  wheel.set(timer, after(20 * kSecond));
  run_to(15);
  EXPECT_TRUE(fired.empty());
  wheel.set(timer, after(17 * kSecond));
  run_to(18);
  EXPECT_EQ(fired, std::vector<std::int64_t>{18});
  wheel.set(timer, after(30 * kSecond));
  wheel.cancel(timer);
  EXPECT_TRUE(wheel.empty());
  run_to(100);
  EXPECT_EQ(fired.size(), 1U);
  wheel.cancel(timer);  // not armed: nothing to do
}

TEST(TimerWheelTest, PastDeadlineFiresAtTheNextTick) {
  TimerWheel wheel(kStart);
  Timer timer;
  int fired = 0;
  wheel.set(timer, base::MonoTime{5});
  wheel.advance(after(kTick), [&](Timer&) { ++fired; });
  EXPECT_EQ(fired, 1);
}

TEST(TimerWheelTest, LongPauseFiresEveryTimerOnce) {
  for (const std::int64_t pause : {100 * kSecond, 512 * kSecond, 5000 * kSecond}) {
    TimerWheel wheel(kStart);
    std::vector<Timer> timers(3000);
    for (std::size_t i = 0; i < timers.size(); ++i) {
      wheel.set(timers[i], after(static_cast<std::int64_t>(i) * kSecond / 7));
    }
    std::set<const Timer*> due;
    int calls = 0;
    wheel.advance(after(pause), [&](Timer& timer) {
      due.insert(&timer);
      ++calls;
      wheel.set(timer, base::MonoTime{0});  // already due again, but not in this visit
    });
    std::size_t expected = 0;
    for (std::size_t i = 0; i < timers.size(); ++i) {
      if (static_cast<std::int64_t>(i) * kSecond / 7 <= pause - kTick) ++expected;
    }
    EXPECT_GE(due.size(), expected);
    EXPECT_EQ(static_cast<std::size_t>(calls), due.size()) << "a timer fired twice";
    for (Timer& timer : timers) wheel.cancel(timer);
    EXPECT_TRUE(wheel.empty());
  }
}

TEST(TimerWheelTest, CallbackMayCancelOthersInTheSameTick) {
  TimerWheel wheel(kStart);
  std::vector<Timer> timers(10);
  for (Timer& timer : timers) wheel.set(timer, after(kSecond));
  int fired = 0;
  wheel.advance(after(2 * kSecond), [&](Timer&) {
    ++fired;
    for (Timer& timer : timers) wheel.cancel(timer);
  });
  EXPECT_EQ(fired, 1);
  EXPECT_TRUE(wheel.empty());
}

TEST(TimerWheelTest, TimeStandingStillOrGoingBackIsHarmless) {
  TimerWheel wheel(kStart);
  Timer timer;
  wheel.set(timer, after(kSecond));
  int fired = 0;
  const auto count = [&](Timer&) { ++fired; };
  wheel.advance(kStart, count);
  wheel.advance(base::MonoTime{0}, count);
  EXPECT_EQ(fired, 0);
  wheel.advance(after(2 * kSecond), count);
  EXPECT_EQ(fired, 1);
}

// The same promise, kept the slow and obvious way: which timers must have fired by now. A timer
// that was moved out and is met early in its last tick may fire there, when its deadline has
// passed.
class Reference {
 public:
  explicit Reference(base::MonoTime start) : tick_(start.ns / kTick) {}

  void set(int id, base::MonoTime deadline) {
    const std::int64_t earliest = (deadline.ns + kTick - 1) / kTick;
    due_tick_[id] = std::max(earliest, tick_ + 1);
  }
  void cancel(int id) { due_tick_.erase(id); }
  std::set<int> advance(base::MonoTime now) {
    tick_ = std::max(tick_, now.ns / kTick);
    std::set<int> due;
    for (const auto& [id, tick] : due_tick_) {
      if (tick <= tick_) due.insert(id);
    }
    for (const int id : due) due_tick_.erase(id);
    return due;
  }
  std::size_t armed() const { return due_tick_.size(); }

 private:
  std::int64_t tick_;
  std::map<int, std::int64_t> due_tick_;
};

TEST(TimerWheelTest, AgreesWithTheReferenceOnRandomOperations) {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    std::mt19937_64 random(seed);
    const auto pick = [&](std::int64_t low, std::int64_t high) {
      return std::uniform_int_distribution<std::int64_t>(low, high)(random);
    };
    TimerWheel wheel(kStart);
    Reference reference(kStart);
    std::vector<Timer> timers(200);
    base::MonoTime now = kStart;
    for (int step = 0; step < 4000; ++step) {
      const auto id = static_cast<int>(pick(0, 199));
      const std::int64_t kind = pick(0, 99);
      if (kind < 70) {
        const std::int64_t reach = kind < 60 ? 60 * kSecond : 1500 * kSecond;
        const base::MonoTime deadline = now + pick(-kSecond, reach);
        wheel.set(timers[static_cast<std::size_t>(id)], deadline);
        reference.set(id, deadline);
      } else if (kind < 80) {
        wheel.cancel(timers[static_cast<std::size_t>(id)]);
        reference.cancel(id);
      } else {
        now = now + pick(0, kind < 99 ? 2 * kSecond : 1200 * kSecond);
        std::vector<int> fired;
        wheel.advance(now, [&](Timer& timer) {
          EXPECT_LE(timer.deadline, now);
          fired.push_back(static_cast<int>(&timer - timers.data()));
        });
        const std::set<int> once(fired.begin(), fired.end());
        ASSERT_EQ(once.size(), fired.size()) << "fired twice, seed " << seed;
        for (const int must : reference.advance(now)) {
          ASSERT_TRUE(once.contains(must)) << "late, seed " << seed;
        }
        for (const int id_fired : fired) reference.cancel(id_fired);
      }
      ASSERT_EQ(wheel.empty(), reference.armed() == 0);
    }
    for (Timer& timer : timers) wheel.cancel(timer);
  }
}

}  // namespace
}  // namespace mxring::uring
