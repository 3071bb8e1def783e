// Queues that are too small: nothing queued is dropped, no completion is lost, each is seen once.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <vector>

#include "tests/uring/ring_fixture.h"
#include "uring/buffer_pool.h"
#include "uring/ring.h"

namespace mxring::uring {
namespace {

constexpr Ring::Options kTiny{.submission_entries = 4, .completion_entries = 8};

TEST_F(RingTest, FullSubmissionQueueIsFlushedEarly) {
  if (!on_io_uring()) GTEST_SKIP() << "only io_uring has a submission queue";
  start({.submission_entries = 8, .completion_entries = 1024}, nullptr);
  SocketPair pair;
  constexpr std::uint32_t kSends = 100;
  const std::string text = "0123456789";
  const std::uint64_t before = ring_->system_calls();
  for (std::uint32_t i = 0; i < kSends; ++i) {
    ring_->send(pair[0], text.data(), 10, {Operation::kSend, 0, i});
  }
  // 100 operations through 8 entries: twelve times full, four left over.
  EXPECT_EQ(ring_->system_calls() - before, 12U);
  EXPECT_EQ(ring_->queued(), 4U);
  std::vector<int> seen(kSends, 0);
  for (const Completion& completion : wait_for(kSends)) {
    EXPECT_EQ(completion.result, 10);
    ++seen[completion.tag.slot];
  }
  EXPECT_EQ(seen, std::vector<int>(kSends, 1));
}

TEST_F(RingTest, OverflowedCompletionsAllArriveOnce) {
  start(kTiny, nullptr);
  constexpr std::uint32_t kOperations = 500;
  for (std::uint32_t i = 0; i < kOperations; ++i) {
    // Each fails at once, so that completions pile up while more operations are queued.
    ring_->cancel({Operation::kReceive, 1, 9999}, {Operation::kCancel, 0, i});
  }
  std::vector<int> seen(kOperations, 0);
  for (const Completion& completion : wait_for(kOperations)) {
    EXPECT_EQ(completion.result, -ENOENT);
    ++seen[completion.tag.slot];
  }
  EXPECT_EQ(seen, std::vector<int>(kOperations, 1));
  EXPECT_TRUE(ring_->submit_and_wait(0).empty());
}

TEST_F(RingTest, ReceivesSurviveCompletionOverflow) {
  start(kTiny, nullptr);
  auto pool = BufferPool::create(*ring_, {.buffer_bytes = 64, .buffers = 1024, .offered = 512});
  ASSERT_TRUE(pool.has_value()) << pool.error().message;
  constexpr std::uint32_t kSockets = 40;
  constexpr std::size_t kBytes = 300;
  std::vector<std::unique_ptr<SocketPair>> pairs;
  std::vector<std::string> received(kSockets);
  for (std::uint32_t i = 0; i < kSockets; ++i) {
    pairs.push_back(std::make_unique<SocketPair>());
    ring_->receive_multishot((*pairs[i])[0], 0, {Operation::kReceive, 0, i});
  }
  ring_->submit_and_wait(0);
  std::string sent;
  for (std::size_t i = 0; i < kBytes; ++i) sent += static_cast<char>('a' + i % 26);
  for (const auto& pair : pairs) {
    ASSERT_EQ(::write((*pair)[1], sent.data(), sent.size()), static_cast<ssize_t>(kBytes));
  }
  std::size_t total = 0;
  while (total < kSockets * kBytes) {
    const auto batch = ring_->submit_and_wait(kWaitNs);
    ASSERT_FALSE(batch.empty()) << total << " bytes of " << kSockets * kBytes;
    for (const Completion& completion : batch) {
      ASSERT_GT(completion.result, 0);
      ASSERT_TRUE(completion.has_buffer);
      pool->adopt(completion.buffer_id);
      received[completion.tag.slot].append(pool->data(completion.buffer_id),
                                           static_cast<std::size_t>(completion.result));
      total += static_cast<std::size_t>(completion.result);
      pool->release(completion.buffer_id);
      // The kernel ends a multishot operation whose completion found no room.
      if (!completion.more) {
        ring_->receive_multishot((*pairs[completion.tag.slot])[0], 0, completion.tag);
      }
    }
    pool->replenish();
  }
  for (const std::string& bytes : received) EXPECT_EQ(bytes, sent);
}

}  // namespace
}  // namespace mxring::uring
