#include "uring/buffer_pool.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/uring/ring_fixture.h"

namespace mxring::uring {
namespace {

class BufferPoolTest : public RingTest {
 protected:
  void SetUp() override {
    RingTest::SetUp();
    testing::FLAGS_gtest_death_test_style = "threadsafe";
  }

  BufferPool make(const BufferPool::Options& options) {
    auto pool = BufferPool::create(*ring_, options);
    EXPECT_TRUE(pool.has_value()) << pool.error().message;
    return std::move(*pool);
  }

  // Sends `text` through the socket pair and returns the buffer it was received into.
  BufferId receive_into_pool(BufferPool& pool, SocketPair& pair, const std::string& text) {
    EXPECT_EQ(::write(pair[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
    const auto seen = wait_for(1);
    EXPECT_EQ(seen.size(), 1U);
    EXPECT_TRUE(seen[0].has_buffer);
    EXPECT_EQ(seen[0].result, static_cast<int>(text.size()));
    pool.adopt(seen[0].buffer_id);
    return seen[0].buffer_id;
  }
};

TEST_F(BufferPoolTest, BuffersGoRoundTheCircle) {
  BufferPool pool = make({.group = 3, .buffer_bytes = 256, .buffers = 16, .offered = 4});
  EXPECT_EQ(pool.offered_buffers(), 4U);
  EXPECT_EQ(pool.free_buffers(), 12U);
  EXPECT_EQ(pool.held_buffers(), 0U);
  SocketPair pair;
  ring_->receive_multishot(pair[0], 3, {Operation::kReceive, 0, 0});

  const BufferId id = receive_into_pool(pool, pair, "hello");
  EXPECT_EQ(std::memcmp(pool.data(id), "hello", 5), 0);
  EXPECT_EQ(pool.held_buffers(), 1U);
  EXPECT_EQ(pool.offered_buffers(), 3U);
  pool.add_ref(id);  // a message keeps a slice
  pool.release(id);  // the receiver is done
  EXPECT_EQ(pool.held_buffers(), 1U);
  pool.release(id);  // the message is done
  EXPECT_EQ(pool.held_buffers(), 0U);
  EXPECT_EQ(pool.free_buffers(), 13U);
  pool.replenish();
  EXPECT_EQ(pool.offered_buffers(), 4U);
  EXPECT_EQ(pool.free_buffers(), 12U);
}

TEST_F(BufferPoolTest, LastReleasedIsOfferedFirst) {
  BufferPool pool = make({.buffer_bytes = 256, .buffers = 1024, .offered = 4});
  SocketPair pair;
  ring_->receive_multishot(pair[0], 0, {Operation::kReceive, 0, 0});
  std::set<BufferId> used;
  for (int i = 0; i < 1000; ++i) {
    const BufferId id = receive_into_pool(pool, pair, "x");
    used.insert(id);
    pool.release(id);
    pool.replenish();
  }
  EXPECT_LE(used.size(), 5U);  // the offered ones, no more
}

TEST_F(BufferPoolTest, KernelRingIndexWrapsAround) {
  // The ring's tail has 16 bits: 70,000 buffers through a ring of four.
  BufferPool pool = make({.buffer_bytes = 64, .buffers = 8, .offered = 4});
  SocketPair pair;
  ring_->receive_multishot(pair[0], 0, {Operation::kReceive, 0, 0});
  for (std::uint32_t i = 0; i < 70'000; ++i) {
    ASSERT_EQ(::write(pair[1], &i, sizeof i), 4);
    const auto seen = ring_->submit_and_wait(kWaitNs);
    ASSERT_EQ(seen.size(), 1U);
    ASSERT_TRUE(seen[0].has_buffer) << "result " << seen[0].result << " at " << i;
    pool.adopt(seen[0].buffer_id);
    ASSERT_EQ(std::memcmp(pool.data(seen[0].buffer_id), &i, sizeof i), 0);
    pool.release(seen[0].buffer_id);
    pool.replenish();
  }
}

TEST_F(BufferPoolTest, OwnerIsFoundFromAnyAddressInside) {
  BufferPool pool = make({.buffer_bytes = 128, .buffers = 8, .offered = 2});
  for (std::uint32_t id = 0; id < 8; ++id) {
    const char* begin = pool.data(static_cast<BufferId>(id));
    EXPECT_EQ(pool.owner_of(begin), id);
    EXPECT_EQ(pool.owner_of(begin + 127), id);
  }
  EXPECT_TRUE(pool.contains(pool.data(0)));
  EXPECT_FALSE(pool.contains(pool.data(0) - 1));
  EXPECT_TRUE(pool.contains(pool.data(7) + 127));
  EXPECT_FALSE(pool.contains(pool.data(7) + 128));
}

TEST_F(BufferPoolTest, TakeGivesFreeBuffersUntilThereAreNone) {
  BufferPool pool = make({.buffer_bytes = 64, .buffers = 8, .offered = 2});
  std::set<BufferId> taken;
  BufferId id = 0;
  while (pool.take(&id)) taken.insert(id);
  EXPECT_EQ(taken.size(), 6U);
  EXPECT_EQ(pool.held_buffers(), 6U);
  EXPECT_EQ(pool.offered_buffers(), 2U);
  for (const BufferId each : taken) pool.release(each);
  EXPECT_EQ(pool.held_buffers(), 0U);
}

TEST_F(BufferPoolTest, ReplenishOffersOnlyWhatIsFree) {
  BufferPool pool = make({.buffer_bytes = 64, .buffers = 4, .offered = 4});
  SocketPair pair;
  ring_->receive_multishot(pair[0], 0, {Operation::kReceive, 0, 0});
  const BufferId first = receive_into_pool(pool, pair, "1");
  const BufferId second = receive_into_pool(pool, pair, "2");
  pool.replenish();
  EXPECT_EQ(pool.offered_buffers(), 2U);
  pool.release(first);
  pool.replenish();
  EXPECT_EQ(pool.offered_buffers(), 3U);
  pool.release(second);
  pool.replenish();
  EXPECT_EQ(pool.offered_buffers(), 4U);
}

TEST_F(BufferPoolTest, SomeAreKeptBackForTake) {
  BufferPool pool = make({.buffer_bytes = 256, .buffers = 8, .offered = 4, .kept_back = 2});
  std::vector<BufferId> taken(4);
  for (BufferId& id : taken) ASSERT_TRUE(pool.take(&id));
  EXPECT_EQ(pool.offered_buffers(), 4U);
  SocketPair pair;
  ring_->receive_multishot(pair[0], 0, {Operation::kReceive, 0, 0});
  const BufferId received = receive_into_pool(pool, pair, "x");
  pool.release(taken[0]);
  pool.release(taken[1]);
  pool.replenish();
  EXPECT_EQ(pool.offered_buffers(), 3U);
  EXPECT_EQ(pool.free_buffers(), 2U);
  pool.release(received);
  pool.replenish();
  EXPECT_EQ(pool.offered_buffers(), 4U);
  pool.release(taken[2]);
  pool.release(taken[3]);
}

TEST_F(BufferPoolTest, UntouchedBuffersAreNotResident) {
  const BufferPool::Options options{};  // the default, 256 MiB
  BufferPool pool = make(options);
  SocketPair pair;
  ring_->receive_multishot(pair[0], 0, {Operation::kReceive, 0, 0});
  const BufferId id = receive_into_pool(pool, pair, "something");
  pool.release(id);
  const std::size_t bytes = std::size_t{options.buffers} * options.buffer_bytes;
  std::vector<unsigned char> pages(bytes / static_cast<std::size_t>(::getpagesize()));
  ASSERT_EQ(::mincore(pool.data(0), bytes, pages.data()), 0);
  const auto resident = std::count_if(pages.begin(), pages.end(), [](auto p) { return p & 1; });
  EXPECT_GE(resident, 1);
  // At most one huge page, where the host hands them out unasked.
  EXPECT_LE(resident * ::getpagesize(), 2 << 20);
}

TEST_F(BufferPoolTest, PoolsOfDifferentGroupsLiveSideBySide) {
  BufferPool small = make({.group = 1, .buffer_bytes = 64, .buffers = 4, .offered = 2});
  BufferPool large = make({.group = 2, .buffer_bytes = 4096, .buffers = 4, .offered = 2});
  auto again = BufferPool::create(*ring_, {.group = 2, .buffers = 4, .offered = 2});
  EXPECT_FALSE(again.has_value());  // the group is taken; the second pool cleans up after itself
  BufferPool moved = std::move(small);
  SocketPair pair;
  ring_->receive_multishot(pair[0], 1, {Operation::kReceive, 0, 0});
  const BufferId id = receive_into_pool(moved, pair, "to the first group");
  EXPECT_EQ(std::memcmp(moved.data(id), "to the first group", 18), 0);
  EXPECT_EQ(large.offered_buffers(), 2U);
}

using BufferPoolDeathTest = BufferPoolTest;

TEST_F(BufferPoolDeathTest, MisuseStopsTheProcess) {
  BufferPool pool = make({.buffer_bytes = 64, .buffers = 8, .offered = 2});
  BufferId taken = 0;
  ASSERT_TRUE(pool.take(&taken));
  const BufferId offered = 0;  // buffer 0 was on top of the free stack when the ring was filled
  EXPECT_DEATH(
      {
        pool.release(taken);
        pool.release(taken);
      },
      "assertion failed");
  EXPECT_DEATH(pool.release(offered), "assertion failed");
  EXPECT_DEATH(pool.add_ref(offered), "assertion failed");
  EXPECT_DEATH(pool.adopt(taken), "assertion failed");
  EXPECT_DEATH(pool.add_ref(7), "assertion failed");    // free
  EXPECT_DEATH(pool.release(100), "assertion failed");  // no such buffer
  EXPECT_DEATH(pool.owner_of(reinterpret_cast<const char*>(&pool)), "assertion failed");
}

}  // namespace
}  // namespace mxring::uring
