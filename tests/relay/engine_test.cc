#include "relay/engine.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "tests/support/broken_invariant.h"

namespace mxring::relay {
namespace {

constexpr std::int64_t kSecond = base::kNsPerSecond;

base::Now at(double seconds) {
  base::Now now;
  now.mono.ns = static_cast<std::int64_t>(seconds * 1e9) + kSecond;
  now.wall.us = static_cast<std::int64_t>(seconds * 1e6);
  return now;
}

struct Rig {
  explicit Rig(EngineOptions options) : engine(options) {}
  std::uint32_t add(Offset offset, std::vector<std::uint64_t> lanes = {}, std::uint64_t bytes = 1) {
    const std::uint32_t slot = engine.admit({offset, offset + 1, lanes, bytes, false});
    engine.invariants();
    return slot;
  }
  // The offset of what begins; -1: nothing.
  std::int64_t start(double seconds) {
    const auto ticket = engine.start(at(seconds));
    engine.invariants();
    if (!ticket) return -1;
    const auto offset = static_cast<std::int64_t>(engine.offset(ticket->slot));
    tickets[offset] = *ticket;
    return offset;
  }
  void done(Offset offset) {
    engine.done(tickets.at(static_cast<std::int64_t>(offset)));
    engine.invariants();
  }
  Fate fail(Offset offset, double seconds, Failure failure = {}) {
    const Fate fate =
        engine.failed(tickets.at(static_cast<std::int64_t>(offset)), failure, at(seconds));
    engine.invariants();
    return fate;
  }
  Engine engine;
  std::map<std::int64_t, Ticket> tickets;
};

EngineOptions options_of(Order order, std::uint32_t under_way = 8) {
  EngineOptions options;
  options.order = order;
  options.under_way_max = under_way;
  return options;
}

MXRING_REVEAL(EntriesOf, &Engine::entries_);
MXRING_REVEAL(LanesOf, &Engine::lanes_);
MXRING_REVEAL(ReadToOf, &Engine::read_to_);
MXRING_REVEAL(BytesOf, &Engine::bytes_);
MXRING_REVEAL(UnderWayOf, &Engine::under_way_);
MXRING_REVEAL(UnderWayMostOf, &Engine::options_);
MXRING_REVEAL(FreeOf, &Engine::free_);

TEST(EngineDeathTest, EachInvariantFires) {
  Rig rig(options_of(Order::kLane, 2));
  const std::uint32_t first = rig.add(5, {1});
  rig.add(6, {2});
  Engine& engine = rig.engine;
  ASSERT_GE(rig.start(0), 0);
  ASSERT_GE(rig.start(0), 0);
  const auto expect = [&](const char* condition, auto break_it) {
    test::expect_fires(condition, [&] {
      break_it();
      engine.invariants();
    });
  };
  auto& entry = (engine.*member_of(EntriesOf{}))[first];
  expect("(entry.state == State::kBlocked) == (entry.blocked_by > 0)",
         [&] { entry.blocked_by = 1; });
  expect("lanes_.contains(lane)", [&] { (engine.*member_of(LanesOf{})).clear(); });
  expect("entry.first >= committable() && entry.next <= read_to_",
         [&] { engine.*member_of(ReadToOf{}) = 6; });
  expect("open == open_ && bytes == bytes_", [&] { ++(engine.*member_of(BytesOf{})); });
  expect("under_way == under_way_ && waiting == waiting_",
         [&] { ++(engine.*member_of(UnderWayOf{})); });
  expect("under_way_ <= options_.under_way_max",
         [&] { (engine.*member_of(UnderWayMostOf{})).under_way_max = 1; });
  expect("entries_[in_order_[i - 1]].next <= entries_[in_order_[i]].first",
         [&] { entry.next = 7; });
  expect("free_.size() + open_ <= entries_.size()",
         [&] { (engine.*member_of(FreeOf{})).resize(engine.open() + 1000); });
}

TEST(EngineTest, ByOffsetOneAtATime) {
  Rig rig(options_of(Order::kOffset));
  for (Offset offset = 5; offset < 9; ++offset) rig.add(offset);
  EXPECT_EQ(rig.engine.committable(), 5U);
  EXPECT_EQ(rig.start(0), 5);
  EXPECT_EQ(rig.start(0), -1);
  rig.done(5);
  EXPECT_EQ(rig.engine.committable(), 6U);
  EXPECT_EQ(rig.start(0), 6);
  EXPECT_EQ(rig.fail(6, 0), Fate::kRetry);
  EXPECT_EQ(rig.start(0.5), -1) << "the group waits for the record that failed";
  EXPECT_EQ(rig.engine.committable(), 6U);
  EXPECT_EQ(rig.start(1.3), 6);
  rig.done(6);
  EXPECT_EQ(rig.start(1.3), 7);
  rig.done(7);
  EXPECT_EQ(rig.start(1.3), 8);
  rig.done(8);
  EXPECT_EQ(rig.engine.committable(), 9U);
  EXPECT_EQ(rig.engine.open(), 0U);
}

TEST(EngineTest, WhatNeedsNoDeliveryCountsAsDone) {
  Rig rig(options_of(Order::kNone));
  rig.engine.read_to(4);
  EXPECT_EQ(rig.engine.committable(), 4U);
  rig.add(4);
  rig.engine.read_to(10);
  EXPECT_EQ(rig.engine.committable(), 4U);
  EXPECT_EQ(rig.start(0), 4);
  rig.done(4);
  EXPECT_EQ(rig.engine.committable(), 10U);
}

TEST(EngineTest, WithoutOrderTheCursorStandsAtTheLowestOpenOne) {
  Rig rig(options_of(Order::kNone, 3));
  for (Offset offset = 0; offset < 5; ++offset) rig.add(offset);
  EXPECT_EQ(rig.start(0), 0);
  EXPECT_EQ(rig.start(0), 1);
  EXPECT_EQ(rig.start(0), 2);
  EXPECT_EQ(rig.start(0), -1);
  rig.done(1);
  rig.done(2);
  EXPECT_EQ(rig.engine.committable(), 0U);
  EXPECT_EQ(rig.fail(0, 0), Fate::kRetry);
  EXPECT_EQ(rig.start(0), 3) << "the others go on";
  rig.done(3);
  EXPECT_EQ(rig.engine.committable(), 0U);
  EXPECT_EQ(rig.start(2), 0);
  rig.done(0);
  EXPECT_EQ(rig.engine.committable(), 4U);
}

TEST(EngineTest, RecordsThatShareALaneKeepTheirOrder) {
  Rig rig(options_of(Order::kLane));
  rig.add(0, {1});
  rig.add(1, {2, 1});
  rig.add(2, {2});
  rig.add(3, {3});
  EXPECT_EQ(rig.start(0), 0);
  EXPECT_EQ(rig.start(0), 3);
  EXPECT_EQ(rig.start(0), -1);
  rig.done(0);
  EXPECT_EQ(rig.start(0), 1);
  EXPECT_EQ(rig.start(0), -1);
  EXPECT_EQ(rig.fail(1, 0), Fate::kRetry);
  EXPECT_EQ(rig.start(0.1), -1) << "2 waits for 1";
  EXPECT_EQ(rig.start(1.5), 1);
  rig.done(1);
  EXPECT_EQ(rig.start(1.5), 2);
  rig.done(2);
  EXPECT_EQ(rig.engine.committable(), 3U);
  rig.done(3);
  EXPECT_EQ(rig.engine.committable(), 4U);
}

TEST(EngineTest, TheSameRecipientTwiceIsOneLane) {
  Rig rig(options_of(Order::kLane));
  rig.add(0, {7, 7});
  rig.add(1, {7});
  EXPECT_EQ(rig.start(0), 0);
  rig.done(0);
  EXPECT_EQ(rig.start(0), 1);
}

TEST(EngineTest, AChainIsBegunAgainFromWhatFailed) {
  Rig rig(options_of(Order::kChain, 4));
  for (Offset offset = 0; offset < 6; ++offset) rig.add(offset);
  for (int offset = 0; offset < 4; ++offset) EXPECT_EQ(rig.start(0), offset);
  EXPECT_EQ(rig.start(0), -1);
  rig.done(0);
  const Ticket old = rig.tickets.at(2);
  EXPECT_EQ(rig.fail(1, 0), Fate::kRetry);
  EXPECT_FALSE(rig.engine.is_current(old));
  rig.engine.done(old);  // an answer to what was recalled
  EXPECT_EQ(rig.engine.committable(), 1U);
  EXPECT_EQ(rig.start(0), -1) << "nothing overtakes";
  EXPECT_EQ(rig.start(2), 1);
  EXPECT_EQ(rig.start(2), 2);
  EXPECT_EQ(rig.engine.attempts(rig.tickets.at(2).slot), 1U) << "it was not its own failure";
  EXPECT_EQ(rig.engine.attempts(rig.tickets.at(1).slot), 2U);
}

TEST(EngineTest, BytesUnderWayAreBounded) {
  EngineOptions options = options_of(Order::kChain, 100);
  options.under_way_bytes = 10;
  Rig rig(options);
  for (Offset offset = 0; offset < 4; ++offset) rig.add(offset, {}, 6);
  EXPECT_EQ(rig.start(0), 0);
  EXPECT_EQ(rig.start(0), 1);
  EXPECT_EQ(rig.start(0), -1);
  EXPECT_FALSE(rig.engine.due().has_value()) << "an answer comes first";
  rig.done(0);
  EXPECT_EQ(rig.start(0), 2);
}

TEST(EngineTest, TheWindowIsBoundedAndHoldsOneHoweverLarge) {
  EngineOptions options = options_of(Order::kNone);
  options.window_records = 3;
  options.window_bytes = 100;
  Rig rig(options);
  EXPECT_TRUE(rig.engine.has_room());
  rig.add(0, {}, 5000);
  EXPECT_FALSE(rig.engine.has_room());
  EXPECT_EQ(rig.start(0), 0);
  rig.done(0);
  for (Offset offset = 1; offset < 4; ++offset) {
    EXPECT_TRUE(rig.engine.has_room());
    rig.add(offset);
  }
  EXPECT_FALSE(rig.engine.has_room());
}

TEST(EngineTest, RetriesDoubleWithJitterUpToTheirMost) {
  EngineOptions options = options_of(Order::kOffset);
  options.retry.max_ns = 20 * kSecond;
  std::set<std::int64_t> delays;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    options.seed = seed;
    Rig rig(options);
    rig.add(0);
    double now = 0;
    double expected = 1;
    for (int attempt = 0; attempt < 8; ++attempt) {
      ASSERT_EQ(rig.start(now), 0);
      ASSERT_EQ(rig.fail(0, now), Fate::kRetry);
      const double delay = static_cast<double>(*rig.engine.due() - at(now).mono) / 1e9;
      EXPECT_GE(delay, expected * 0.8 - 1e-6);
      EXPECT_LE(delay, expected * 1.2 + 1e-6);
      delays.insert(static_cast<std::int64_t>(delay * 1e6));
      EXPECT_EQ(rig.start(now + delay - 0.001), -1);
      now += delay + 1e-6;  // at() rounds
      expected = std::min(expected * 2, 20.0);
    }
  }
  EXPECT_GT(delays.size(), 100U) << "no jitter";
}

TEST(EngineTest, TheSameSeedGivesTheSameSchedule) {
  for (int run = 0; run < 2; ++run) {
    static std::int64_t first = 0;
    EngineOptions options = options_of(Order::kOffset);
    options.seed = 42;
    Rig rig(options);
    rig.add(0);
    rig.start(0);
    rig.fail(0, 0);
    if (run == 0) first = rig.engine.due()->ns;
    EXPECT_EQ(rig.engine.due()->ns, first);
  }
}

TEST(EngineTest, WhatTheSinkAskedForIsObeyed) {
  Rig rig(options_of(Order::kNone));
  rig.add(0);
  rig.add(1);
  EXPECT_EQ(rig.start(0), 0);
  Failure failure;
  failure.wait_ns = 30 * kSecond;
  failure.everybody = true;
  EXPECT_EQ(rig.fail(0, 0, failure), Fate::kRetry);
  EXPECT_EQ(rig.start(29.9), -1) << "not the others either";
  EXPECT_EQ(*rig.engine.due() - at(0).mono, 30 * kSecond);
  EXPECT_EQ(rig.start(30), 0);
  EXPECT_EQ(rig.start(30), 1);
}

TEST(EngineTest, GivesUpAfterItsTime) {
  EngineOptions options = options_of(Order::kOffset);
  options.retry.give_up_after_ns = 10 * kSecond;
  Rig rig(options);
  rig.add(3);
  rig.add(4);
  EXPECT_EQ(rig.start(0), 3);
  EXPECT_EQ(rig.fail(3, 5), Fate::kRetry);
  EXPECT_EQ(rig.start(9), 3);
  EXPECT_EQ(rig.fail(3, 10), Fate::kDead);
  EXPECT_EQ(rig.engine.committable(), 3U) << "not before the letter is on disk";
  EXPECT_EQ(rig.start(10), -1);
  rig.engine.buried(rig.tickets.at(3));
  EXPECT_EQ(rig.engine.committable(), 4U);
  EXPECT_EQ(rig.start(10), 4);
  EXPECT_FALSE(rig.engine.should_pause()) << "silence is not a refusal";
}

TEST(EngineTest, ALetterThatCannotBeWrittenIsTriedAgain) {
  Rig rig(options_of(Order::kOffset));
  rig.add(0);
  EXPECT_EQ(rig.start(0), 0);
  EXPECT_EQ(rig.fail(0, 0, {.for_good = true}), Fate::kDead);
  rig.engine.not_buried(rig.tickets.at(0), at(0));
  rig.engine.invariants();
  EXPECT_EQ(rig.engine.committable(), 0U);
  EXPECT_EQ(rig.start(2), 0);
}

TEST(EngineTest, ManyRefusalsInARowAreTheSinks) {
  EngineOptions options = options_of(Order::kOffset);
  options.dead_in_a_row = 3;
  Rig rig(options);
  Offset offset = 0;
  const auto refuse = [&](bool partly) {
    rig.add(offset);
    rig.start(0);
    ASSERT_EQ(rig.fail(offset, 0, {.for_good = true, .partly = partly}), Fate::kDead);
    rig.engine.buried(rig.tickets.at(static_cast<std::int64_t>(offset++)));
  };
  refuse(false);
  refuse(false);
  rig.add(offset);
  rig.start(0);
  rig.done(offset++);
  refuse(false);
  refuse(true);
  refuse(false);
  EXPECT_FALSE(rig.engine.should_pause());
  refuse(false);
  EXPECT_TRUE(rig.engine.should_pause());
}

TEST(EngineTest, ALetterTriedAgainIsBesideTheCursor) {
  Rig rig(options_of(Order::kOffset));
  const std::uint32_t slot = rig.engine.admit({2, 3, {}, 1, true});
  rig.engine.read_to(50);
  rig.add(50);
  EXPECT_EQ(rig.engine.committable(), 50U);
  EXPECT_EQ(rig.start(0), 2) << "these first";
  EXPECT_TRUE(rig.engine.is_aside(slot));
  rig.done(2);
  EXPECT_EQ(rig.start(0), 50);
}

TEST(EngineTest, RestartForgetsWhatWasUnderWay) {
  Rig rig(options_of(Order::kChain));
  for (Offset offset = 0; offset < 3; ++offset) rig.add(offset);
  rig.start(0);
  rig.start(0);
  rig.engine.restart_at(1);
  rig.engine.invariants();
  EXPECT_EQ(rig.engine.committable(), 1U);
  rig.done(0);  // too late
  EXPECT_EQ(rig.engine.committable(), 1U);
  rig.add(1);
  EXPECT_EQ(rig.start(0), 1);
}

// Random sinks, windows and restarts: nothing is left out, order is kept, and what comes again was
// under way or not committed.
class RandomRun {
 public:
  RandomRun(Order order, std::uint64_t seed) : order_(order), random_(seed) {}
  void run();

 private:
  static constexpr Offset kRecords = 300;
  static std::vector<std::uint64_t> lanes_of(Offset offset) {
    return offset % 7 == 0 ? std::vector<std::uint64_t>{offset % 3, 4}
                           : std::vector<std::uint64_t>{offset % 5};
  }
  // A process's life, from the cursor to its end in the middle of things.
  void life(std::size_t steps);
  void deliver(Offset offset);
  std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_() % bound); }
  bool filtered(Offset offset) const { return offset % 11 == 3; }

  Order order_;
  std::mt19937_64 random_;
  Offset cursor_ = 0;
  double now_ = 0;
  std::map<Offset, int> delivered_;
  std::map<std::uint64_t, Offset> latest_in_lane_;
  std::map<Offset, int> buried_;
};

void RandomRun::deliver(Offset offset) {
  // One that was put aside and comes again after a crash was dealt with when it was its turn.
  if (order_ != Order::kNone && delivered_[offset] == 0 && buried_[offset] == 0) {
    for (const std::uint64_t lane :
         order_ == Order::kLane ? lanes_of(offset) : std::vector<std::uint64_t>{0}) {
      if (const auto latest = latest_in_lane_.find(lane); latest != latest_in_lane_.end()) {
        ASSERT_GT(offset, latest->second) << "overtaken in lane " << lane;
      }
      latest_in_lane_[lane] = offset;
    }
  }
  ++delivered_[offset];
}

void RandomRun::life(std::size_t steps) {
  EngineOptions options = options_of(order_, 1 + below(6));
  options.window_records = 1 + below(20);
  options.seed = random_();
  options.dead_in_a_row = 0;
  Engine engine(options);
  Offset position = cursor_;
  engine.read_to(position);
  std::vector<Ticket> under_way;
  for (std::size_t step = 0; step < steps && cursor_ < kRecords; ++step) {
    while (position < kRecords && engine.has_room()) {
      if (filtered(position)) {
        engine.read_to(++position);
        continue;
      }
      engine.admit({position, position + 1, lanes_of(position), 1 + random_() % 9, false});
      ++position;
    }
    while (const auto ticket = engine.start(at(now_))) under_way.push_back(*ticket);
    engine.invariants();
    if (under_way.empty()) {
      ASSERT_TRUE(engine.due().has_value() || engine.open() == 0);
      if (engine.due())
        now_ = std::max(now_, static_cast<double>(engine.due()->ns - kSecond) / 1e9);
      now_ += 1e-6;
    } else {
      const std::size_t chosen = order_ == Order::kChain ? 0 : random_() % under_way.size();
      const Ticket ticket = under_way[chosen];
      under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(chosen));
      const Offset offset = engine.is_current(ticket) ? engine.offset(ticket.slot) : 0;
      const std::uint64_t luck = random_() % 10;
      if (!engine.is_current(ticket) || luck < 6) {
        if (engine.is_current(ticket)) deliver(offset);
        engine.done(ticket);
      } else if (engine.failed(ticket, {.for_good = luck == 9}, at(now_)) == Fate::kDead) {
        ++buried_[offset];
        engine.buried(ticket);
      }
    }
    ASSERT_GE(engine.committable(), cursor_);
    if (random_() % 3 == 0) cursor_ = engine.committable();
  }
}

void RandomRun::run() {
  for (int lives = 0; cursor_ < kRecords && lives < 1000; ++lives) life(random_() % 200);
  ASSERT_EQ(cursor_, kRecords);
  for (Offset offset = 0; offset < kRecords; ++offset) {
    const int times = delivered_[offset] + buried_[offset];
    EXPECT_EQ(times > 0, !filtered(offset)) << offset << " came " << times << " times";
  }
}

class EngineRandomTest : public testing::TestWithParam<Order> {};

TEST_P(EngineRandomTest, NothingIsMissingAndOrderIsKept) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    RandomRun(GetParam(), seed).run();
    if (HasFatalFailure()) return;
  }
}

INSTANTIATE_TEST_SUITE_P(Orders, EngineRandomTest,
                         testing::Values(Order::kOffset, Order::kLane, Order::kNone,
                                         Order::kChain));

}  // namespace
}  // namespace mxring::relay
