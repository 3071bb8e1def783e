#include "base/slot_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace mxring::base {
namespace {

struct Counted {
  explicit Counted(int n) : number(n) { ++alive; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  ~Counted() { --alive; }
  int number;
  static inline int alive = 0;
};
using Pool = SlotPool<Counted>;

TEST(SlotPoolTest, GivesUpToTheLimitAndNoMore) {
  Pool pool(70);  // not a multiple of the block
  std::set<std::uint32_t> slots;
  Pool::Ref ref;
  for (int i = 0; i < 70; ++i) {
    ASSERT_NE(pool.acquire(&ref, i), nullptr);
    slots.insert(ref.slot);
  }
  EXPECT_EQ(slots.size(), 70U);
  EXPECT_EQ(*slots.rbegin(), 69U);
  EXPECT_EQ(pool.acquire(&ref, 0), nullptr);
  EXPECT_EQ(pool.live(), 70U);
}

TEST(SlotPoolTest, StaleReferencesFindNothing) {
  Pool pool(1);
  Pool::Ref first;
  pool.acquire(&first, 1);
  pool.release(first);
  EXPECT_EQ(pool.find(first), nullptr);
  Pool::Ref second;
  pool.acquire(&second, 2);
  EXPECT_EQ(second.slot, first.slot);
  EXPECT_NE(second.generation, first.generation);
  EXPECT_EQ(pool.find(first), nullptr);
  ASSERT_NE(pool.find(second), nullptr);
  EXPECT_EQ(pool.find(second)->number, 2);
  EXPECT_EQ(pool.find({1000, 0}), nullptr);
  EXPECT_EQ(pool.find({0, 0}), nullptr);
}

TEST(SlotPoolTest, GenerationsStayWithin24Bits) {
  Pool pool(1);
  Pool::Ref ref;
  std::uint32_t largest = 0;
  for (std::uint32_t i = 0; i < (1U << 24) + 2; ++i) {
    pool.acquire(&ref, 0);
    largest = std::max(largest, ref.generation);
    pool.release(ref);
  }
  EXPECT_EQ(largest, Pool::kGenerationMask);
}

TEST(SlotPoolTest, DestroysWhatIsReleasedAndWhatIsLeft) {
  ASSERT_EQ(Counted::alive, 0);
  {
    Pool pool(200);
    std::vector<Pool::Ref> refs(150);
    for (Pool::Ref& ref : refs) pool.acquire(&ref, 0);
    EXPECT_EQ(Counted::alive, 150);
    for (std::size_t i = 0; i < 100; ++i) pool.release(refs[i]);
    EXPECT_EQ(Counted::alive, 50);
  }
  EXPECT_EQ(Counted::alive, 0);
}

TEST(SlotPoolTest, AgreesWithAMapOnRandomOperations) {
  std::mt19937 random(9);
  Pool pool(300);
  std::map<std::uint32_t, std::pair<Pool::Ref, int>> live;
  std::vector<Pool::Ref> stale;
  for (int step = 0; step < 50'000; ++step) {
    if (random() % 2 == 0) {
      Pool::Ref ref;
      Counted* object = pool.acquire(&ref, step);
      ASSERT_EQ(object != nullptr, live.size() < 300);
      if (object != nullptr) {
        ASSERT_TRUE(live.emplace(ref.slot, std::pair(ref, step)).second);
      }
    } else if (!live.empty()) {
      const auto at = std::next(live.begin(), static_cast<long>(random() % live.size()));
      ASSERT_EQ(pool.find(at->second.first)->number, at->second.second);
      pool.release(at->second.first);
      stale.push_back(at->second.first);
      live.erase(at);
    }
    ASSERT_EQ(pool.live(), live.size());
    if (!stale.empty()) {
      ASSERT_EQ(pool.find(stale[random() % stale.size()]), nullptr);
    }
  }
  std::set<int> visited;
  pool.for_each([&](Counted& object) { visited.insert(object.number); });
  EXPECT_EQ(visited.size(), live.size());
}

TEST(SlotPoolDeathTest, ReleasingTwiceStopsTheProcess) {
  Pool pool(2);
  Pool::Ref ref;
  pool.acquire(&ref, 1);
  pool.release(ref);
  EXPECT_DEATH(pool.release(ref), "assertion failed");
}

}  // namespace
}  // namespace mxring::base
