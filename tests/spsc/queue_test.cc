// The queue within one thread, where every state can be set up, and between two, where
// ThreadSanitizer (preset tsan) watches the order of accesses.
#include "spsc/queue.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <thread>

namespace mxring::spsc {
namespace {

TEST(QueueTest, RoundsCapacityUp) {
  EXPECT_EQ(Queue<int>(1).capacity(), 1U);
  EXPECT_EQ(Queue<int>(5).capacity(), 8U);
  EXPECT_EQ(Queue<int>(64).capacity(), 64U);
}

TEST(QueueTest, RefusesWhenFullAndLeavesTheValueAlone) {
  Queue<std::unique_ptr<int>> queue(4);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.push(std::make_unique<int>(i)));
  auto fifth = std::make_unique<int>(4);
  EXPECT_FALSE(queue.push(std::move(fifth)));
  ASSERT_NE(fifth, nullptr);  // NOLINT(bugprone-use-after-move): that is the contract
  EXPECT_EQ(queue.size(), 4U);

  std::unique_ptr<int> out;
  EXPECT_TRUE(queue.pop(out));
  EXPECT_EQ(*out, 0);
  EXPECT_TRUE(queue.push(std::move(fifth)));
  for (int i = 1; i < 5; ++i) {
    ASSERT_TRUE(queue.pop(out));
    EXPECT_EQ(*out, i);
  }
  EXPECT_FALSE(queue.pop(out));
  EXPECT_TRUE(queue.empty());
}

TEST(QueueTest, EmptyPopLeavesTheTargetAlone) {
  Queue<std::string> queue(2);
  std::string out = "kept";
  EXPECT_FALSE(queue.pop(out));
  EXPECT_EQ(out, "kept");
}

TEST(QueueTest, AgreesWithADequeOnRandomOperations) {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    std::mt19937 random(seed);
    Queue<std::uint64_t> queue(8);
    std::deque<std::uint64_t> reference;
    std::uint64_t next = 0;
    for (int step = 0; step < 20'000; ++step) {
      if (random() % 2 == 0) {
        const bool room = reference.size() < queue.capacity();
        ASSERT_EQ(queue.push(std::uint64_t{next}), room);
        if (room) reference.push_back(next++);
      } else {
        std::uint64_t out = 0;
        ASSERT_EQ(queue.pop(out), !reference.empty());
        if (!reference.empty()) {
          ASSERT_EQ(out, reference.front());
          reference.pop_front();
        }
      }
      ASSERT_EQ(queue.size(), reference.size());
      ASSERT_EQ(queue.empty(), reference.empty());
    }
  }
}

TEST(QueueTest, ReleasesWhatIsLeftInside) {
  auto shared = std::make_shared<int>(1);
  {
    Queue<std::shared_ptr<int>> queue(4);
    queue.push(std::shared_ptr<int>(shared));
    queue.push(std::shared_ptr<int>(shared));
    EXPECT_EQ(shared.use_count(), 3);
  }
  EXPECT_EQ(shared.use_count(), 1);
}

TEST(QueueTest, PoppedSlotKeepsNothing) {
  auto shared = std::make_shared<int>(1);
  Queue<std::shared_ptr<int>> queue(4);
  queue.push(std::shared_ptr<int>(shared));
  std::shared_ptr<int> out;
  ASSERT_TRUE(queue.pop(out));
  out.reset();
  EXPECT_EQ(shared.use_count(), 1);
}

TEST(QueueTest, TwoThreadsKeepOrderAndContent) {
  // The second word is plain memory: if the indices did not publish it, ThreadSanitizer or the
  // comparison would say so.
  struct Element {
    std::uint64_t number = 0;
    std::uint64_t mirrored = 0;
  };
  constexpr std::uint64_t kElements = 10'000'000;
  Queue<Element> queue(1024);
  std::thread producer([&] {
    for (std::uint64_t i = 0; i < kElements; ++i) {
      while (!queue.push(Element{i, ~i})) std::this_thread::yield();
    }
  });
  std::uint64_t wrong = 0;
  for (std::uint64_t expected = 0; expected < kElements;) {
    Element element;
    if (!queue.pop(element)) {
      std::this_thread::yield();
      continue;
    }
    if (element.number != expected || element.mirrored != ~expected) ++wrong;
    ++expected;
  }
  producer.join();
  EXPECT_EQ(wrong, 0U);
  EXPECT_TRUE(queue.empty());
}

TEST(QueueTest, TwoThreadsHandOverOwnership) {
  // A queue of two slots, so that full and empty alternate as often as possible.
  constexpr std::uint64_t kElements = 100'000;
  Queue<std::unique_ptr<std::uint64_t>> queue(2);
  std::thread producer([&] {
    for (std::uint64_t i = 0; i < kElements; ++i) {
      auto element = std::make_unique<std::uint64_t>(i);
      while (!queue.push(std::move(element))) std::this_thread::yield();
    }
  });
  std::uint64_t sum = 0;
  std::unique_ptr<std::uint64_t> element;
  for (std::uint64_t received = 0; received < kElements;) {
    if (!queue.pop(element)) {
      std::this_thread::yield();
      continue;
    }
    sum += *element;
    ++received;
  }
  producer.join();
  EXPECT_EQ(sum, kElements * (kElements - 1) / 2);
}

}  // namespace
}  // namespace mxring::spsc
