// Who pauses and who goes, with holders that say what the test wants.
#include "server/memory_gate.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/server/shard_parts.h"
#include "tests/support/broken_invariant.h"

namespace mxring::server {
namespace {

using test::NotingEngine;

constexpr std::uint32_t kBuffers = 64;
constexpr std::uint32_t kLow = 8;
constexpr std::uint64_t kBufferBytes = 4096;
constexpr std::int64_t kSecond = base::kNsPerSecond;

class Holder final : public MemoryHolder {
 public:
  explicit Holder(MemoryGate& gate) : gate_(gate) {}
  HeldBytes held() const override { return holds; }
  std::uint64_t message_bytes() const override { return message; }
  void set_memory_pause(bool on) override { paused = on; }
  void give_up_for_memory() override {
    ++given_up;
    holds = {};
    message = 0;
    gate_.message_ends(*this);
  }
  void cut_off_for_memory() override { ++cut_off; }

  HeldBytes holds;
  std::uint64_t message = 0;
  bool paused = false;
  int given_up = 0;
  int cut_off = 0;
  bool receives = false;

 private:
  MemoryGate& gate_;
};

class MemoryGateTest : public testing::Test {
 protected:
  MemoryGateTest() : ring_(uring::Ring::on(std::make_unique<NotingEngine>(), nullptr)) {
    limits_.memory_bytes = std::uint64_t{kBuffers} * kBufferBytes;
    auto pool = uring::BufferPool::create(
        ring_, {.group = 0, .buffer_bytes = kBufferBytes, .buffers = kBuffers + 8, .offered = 8});
    buffers_.emplace(std::move(*pool));
    gate_.emplace(MemoryGate::Setup{
        .buffers = *buffers_, .buffers_low = kLow, .limits = limits_, .counters = counters_});
  }
  ~MemoryGateTest() override {
    for (auto& holder : holders_) leave(*holder);
    for (const uring::BufferId id : taken_) buffers_->release(id);
  }

  Holder& enter(std::string_view address) {
    auto& holder = holders_.emplace_back(std::make_unique<Holder>(*gate_));
    gate_->enter(*holder, *base::IpAddress::parse(address));
    return *holder;
  }
  void leave(Holder& holder) {
    if (holder.receives && holder.given_up == 0) {
      holder.message = 0;
      gate_->message_ends(holder);
    }
    gate_->leave(holder);
  }
  void holds_heap(Holder& holder, std::uint64_t bytes) {
    holder.holds.heap = bytes;
    gate_->recount(holder);
  }
  // Buffers of the pool, so that free ones get fewer as well.
  void holds_buffers(Holder& holder, std::uint32_t n) {
    for (std::uint32_t i = 0; i < n; ++i) {
      uring::BufferId id = 0;
      ASSERT_TRUE(buffers_->take(&id));
      taken_.push_back(id);
    }
    holder.holds.buffers += n * kBufferBytes;
    gate_->recount(holder);
  }
  void receives(Holder& holder, std::uint32_t buffers) {
    gate_->message_begins(holder, now_);
    holder.receives = true;
    holder.message = buffers * kBufferBytes;
    holds_buffers(holder, buffers);
  }
  void relieve(std::size_t in_flight = 1) {
    gate_->relieve(now_, in_flight);
    gate_->invariants();
  }
  void pass(std::int64_t ns) { now_.ns += ns; }

  base::Limits limits_;
  obs::CounterRegistry registry_{refusals_family()};
  obs::CounterSet& counters_ = registry_.make_set("test");
  uring::Ring ring_;
  std::optional<uring::BufferPool> buffers_;
  std::vector<uring::BufferId> taken_;
  std::optional<MemoryGate> gate_;
  std::vector<std::unique_ptr<Holder>> holders_;
  base::MonoTime now_{1'000 * kSecond};
};

TEST_F(MemoryGateTest, HeapCountsAsBuffersDo) {
  Holder& one = enter("192.0.2.1");
  EXPECT_FALSE(gate_->is_short());
  holds_heap(one, (kBuffers - kLow) * kBufferBytes + 1);
  EXPECT_TRUE(gate_->is_short());
  holds_heap(one, 0);
  holds_buffers(one, kBuffers - kLow + 1);
  EXPECT_TRUE(gate_->is_short());
}

TEST_F(MemoryGateTest, TheLargestMessageThatMovesGoesOnAndTheOthersWait) {
  Holder& small = enter("192.0.2.1");
  Holder& large = enter("192.0.2.2");
  Holder& other = enter("192.0.2.3");
  receives(small, 5);
  receives(large, 40);
  receives(other, 15);
  ASSERT_TRUE(gate_->is_short());
  for (Holder* holder : {&small, &other, &large}) gate_->pause(*holder, now_);
  EXPECT_TRUE(small.paused);
  EXPECT_TRUE(other.paused);
  EXPECT_FALSE(large.paused);
  relieve();
  EXPECT_TRUE(small.paused);
  EXPECT_EQ(gate_->paused(), 2U);
  EXPECT_EQ(small.given_up + large.given_up + other.given_up, 0);
}

TEST_F(MemoryGateTest, WhoWaitedTooLongIsNotTheOneToGoButTheLargestOfTheGreediestClient) {
  Holder& favoured = enter("192.0.2.1");
  Holder& modest = enter("192.0.2.2");
  Holder& greedy = enter("192.0.2.3");
  Holder& greedy_too = enter("192.0.2.3");
  receives(favoured, 25);
  receives(modest, 14);
  receives(greedy, 8);
  receives(greedy_too, 12);
  for (Holder* holder : {&favoured, &modest, &greedy, &greedy_too}) gate_->pause(*holder, now_);
  pass(limits_.memory_wait_ns + kSecond);
  favoured.message += 64 * 1024;  // it moves
  relieve();
  EXPECT_EQ(favoured.given_up, 0) << "the one large message";
  EXPECT_EQ(greedy_too.given_up, 1);
}

TEST_F(MemoryGateTest, AMessageThatStandsStillLosesItsPrivilege) {
  Holder& still = enter("192.0.2.1");
  Holder& moves = enter("192.0.2.2");
  receives(still, 40);
  receives(moves, 20);
  gate_->pause(moves, now_);
  ASSERT_TRUE(moves.paused);
  pass(limits_.memory_wait_ns + kSecond);
  relieve();
  EXPECT_FALSE(moves.paused);
  EXPECT_EQ(still.given_up, 1);
  EXPECT_EQ(moves.given_up, 0);
}

TEST_F(MemoryGateTest, WithoutMessagesTheGreediestClientIsCutOffAtOnce) {
  std::vector<Holder*> crowd;
  for (int i = 0; i < 12; ++i) crowd.push_back(&enter("192.0.2.66"));
  Holder& honest = enter("192.0.2.1");
  receives(honest, 20);
  for (Holder* holder : crowd) holds_buffers(*holder, 3);
  holds_buffers(*crowd[5], 1);
  ASSERT_TRUE(gate_->is_short());
  relieve();
  EXPECT_EQ(crowd[5]->cut_off, 1);  // the largest
  EXPECT_EQ(honest.given_up, 0);
  EXPECT_FALSE(honest.paused);
}

TEST_F(MemoryGateTest, WhoGoesIsCountedOnceWhileItCloses) {
  std::vector<Holder*> crowd;
  for (int i = 0; i < 10; ++i) crowd.push_back(&enter("192.0.2.66"));
  for (Holder* holder : crowd) holds_heap(*holder, 6 * kBufferBytes);
  relieve();
  int cut_off = 0;
  for (Holder* holder : crowd) cut_off += holder->cut_off;
  EXPECT_GT(cut_off, 0);
  EXPECT_LT(cut_off, 10);
  relieve();  // they hold it still
  int after = 0;
  for (Holder* holder : crowd) after += holder->cut_off;
  EXPECT_EQ(after, cut_off);
}

TEST_F(MemoryGateTest, AClientOfIpv6IsItsNetwork) {
  Holder& a = enter("2001:db8:0:1::1");
  Holder& b = enter("2001:db8:0:1:ffff::2");
  Holder& alone = enter("2001:db8:0:2::1");
  EXPECT_EQ(gate_->clients(), 2U);
  holds_heap(a, 22 * kBufferBytes);
  holds_heap(b, 18 * kBufferBytes);
  holds_heap(alone, 24 * kBufferBytes);
  ASSERT_TRUE(gate_->is_short());
  relieve();
  EXPECT_EQ(a.cut_off, 1) << "the sum of the /64 counts";
  EXPECT_EQ(alone.cut_off, 0);
}

TEST_F(MemoryGateTest, WhenNothingCanMoveSomebodyGoesAtOnce) {
  Holder& one = enter("192.0.2.1");
  Holder& two = enter("192.0.2.2");
  receives(one, 34);
  receives(two, kBuffers - 34 - 2);
  gate_->pause(two, now_);
  relieve(/*in_flight=*/1);
  EXPECT_EQ(two.given_up, 0) << "a commit will free memory";
  relieve(/*in_flight=*/0);
  EXPECT_EQ(two.given_up, 1);
  EXPECT_EQ(one.given_up, 0);
}

// With fewer on offer than are kept back for decryption, all were in messages and nobody received.
TEST_F(MemoryGateTest, BuffersThatAreKeptBackAreNoneToReceiveInto) {
  constexpr std::uint32_t kKeptBack = 16;
  gate_.reset();
  buffers_.reset();
  auto pool = uring::BufferPool::create(ring_, {.group = 0,
                                                .buffer_bytes = kBufferBytes,
                                                .buffers = kBuffers + 8 + kKeptBack,
                                                .offered = 8,
                                                .kept_back = kKeptBack});
  buffers_.emplace(std::move(*pool));
  gate_.emplace(MemoryGate::Setup{.buffers = *buffers_,
                                  .buffers_low = kKeptBack + 1,
                                  .limits = limits_,
                                  .counters = counters_});
  Holder& holder = enter("192.0.2.1");
  receives(holder, kBuffers);
  ASSERT_EQ(buffers_->free_buffers(), kKeptBack);
  relieve(0);
  EXPECT_EQ(holder.given_up, 0);  // it is favoured as long as it may move
  pass(6 * kSecond);
  relieve(0);
  EXPECT_EQ(holder.given_up, 1);
}

TEST_F(MemoryGateTest, WhoHoldsLittleDoesNotPayForMessages) {
  Holder& large = enter("192.0.2.1");
  Holder& other = enter("192.0.2.2");
  Holder& idle = enter("192.0.2.3");
  receives(large, 34);
  receives(other, kBuffers - 34 - 4);
  holds_buffers(idle, 2);
  gate_->pause(other, now_);
  relieve(/*in_flight=*/0);
  EXPECT_EQ(other.given_up, 1);
  relieve(/*in_flight=*/0);
  EXPECT_EQ(idle.cut_off, 0);
}

TEST_F(MemoryGateTest, ATurnEvictsABoundedNumber) {
  std::vector<Holder*> crowd;
  for (int i = 0; i < 200; ++i) crowd.push_back(&enter("198.51.100." + std::to_string(i)));
  for (Holder* holder : crowd) holds_heap(*holder, 8 * kBufferBytes);
  relieve();
  std::size_t cut_off = 0;
  for (Holder* holder : crowd) cut_off += static_cast<std::size_t>(holder->cut_off);
  EXPECT_EQ(cut_off, MemoryGate::kEvictionsPerTurn);
}

TEST_F(MemoryGateTest, WhenMemoryIsBackTheOldestGoesOnFirst) {
  Holder& large = enter("192.0.2.1");
  Holder& older = enter("192.0.2.2");
  receives(large, 40);
  receives(older, 20);
  gate_->pause(older, now_);
  ASSERT_TRUE(older.paused);
  for (int i = 0; i < 40; ++i) {
    buffers_->release(taken_.back());
    taken_.pop_back();
  }
  relieve();
  EXPECT_FALSE(older.paused);
}

using MemoryGateDeathTest = MemoryGateTest;

MXRING_REVEAL(AccountsOf, &MemoryGate::accounts_);
MXRING_REVEAL(HeapOf, &MemoryGate::heap_bytes_);
MXRING_REVEAL(PausedCountOf, &MemoryGate::paused_);
MXRING_REVEAL(FavouredOf, &MemoryGate::favoured_);
MXRING_REVEAL(PausedOf, &MemoryHolder::paused_);
MXRING_REVEAL(AccountOf, &MemoryHolder::account_);

TEST_F(MemoryGateDeathTest, EachInvariantFires) {
  Holder& holder = enter("192.0.2.1");
  holds_heap(holder, 100);
  MemoryHolder& base = holder;
  MemoryGate& gate = *gate_;
  gate.invariants();
  const auto expect = [&](const char* condition, auto break_it) {
    mxring::test::expect_fires(condition, [&] {
      break_it();
      gate.invariants();
    });
  };
  expect("!account.holders.empty()",
         [&] { (void)(gate.*member_of(AccountsOf{}))[*base::IpAddress::parse("192.0.2.9")]; });
  expect("h->account_ == &account && (has_message || !h->paused_)",
         [&] { base.*member_of(PausedOf{}) = true; });
  expect("bytes == account.bytes && going_of_account == account.going",
         [&] { ++(base.*member_of(AccountOf{}))->bytes; });
  expect("heap == heap_bytes_ && idle == idle_bytes_ && going == going_bytes_",
         [&] { ++(gate.*member_of(HeapOf{})); });
  expect("receiving == receiving_.size() && paused == paused_",
         [&] { ++(gate.*member_of(PausedCountOf{})); });
  expect("favoured_ == nullptr || favoured_->receiving_hook_.linked()",
         [&] { gate.*member_of(FavouredOf{}) = &holder; });
}

TEST_F(MemoryGateDeathTest, AMessageBeginsOnce) {
  Holder& holder = enter("192.0.2.1");
  receives(holder, 1);
  EXPECT_DEATH(gate_->message_begins(holder, now_), "linked");
}

TEST_F(MemoryGateDeathTest, NobodyLeavesInTheMiddleOfAMessage) {
  Holder& holder = enter("192.0.2.1");
  receives(holder, 1);
  EXPECT_DEATH(gate_->leave(holder), "receiving_hook_");
}

}  // namespace
}  // namespace mxring::server
