// How a message keeps received bytes: slices without copies, tiny fragments gathered, a bound on
// the number of slices, and every buffer given back.

#include "server/message.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>

#include "base/crc32c.h"

namespace mxring::server {
namespace {

constexpr std::uint32_t kBufferBytes = 4096;

class MessageTest : public testing::Test {
 protected:
  void SetUp() override {
    auto ring = uring::Ring::create({}, nullptr);
    if (!ring) GTEST_SKIP() << ring.error().message;
    ring_.emplace(std::move(*ring));
    auto pool = uring::BufferPool::create(
        *ring_, {.group = 0, .buffer_bytes = kBufferBytes, .buffers = 512, .offered = 8});
    ASSERT_TRUE(pool.has_value());
    pool_.emplace(std::move(*pool));
    pool_->replenish();
    free_at_start_ = pool_->free_buffers();
  }

  void TearDown() override { pool_.reset(); }

  // Puts `bytes` into a fresh buffer, as a receive would, and appends each run of it.
  void receive(Message& message, std::string_view bytes, bool ends = false) {
    uring::BufferId buffer = 0;
    ASSERT_TRUE(pool_->take(&buffer));
    char* data = pool_->data(buffer);
    std::memcpy(data, bytes.data(), bytes.size());
    // '~' stands for a stuffed dot: the gap between two runs.
    std::size_t at = 0;
    while (at < bytes.size()) {
      std::size_t end = bytes.find('~', at);
      if (end == std::string_view::npos) end = bytes.size();
      message.append({data + at, end - at}, buffer);
      expected_.append(bytes.substr(at, end - at));
      at = end + 1;
    }
    if (!ends) message.settle(buffer);
    pool_->release(buffer);
  }

  static std::string joined(const Message& message) {
    std::string out;
    for (const iovec& slice : message.slices()) {
      out.append(static_cast<const char*>(slice.iov_base), slice.iov_len);
    }
    return out;
  }

  void expect_kept(const Message& message) {
    EXPECT_EQ(joined(message), expected_);
    EXPECT_EQ(message.bytes(), expected_.size());
    EXPECT_EQ(message.crc32c(), base::crc32c(0, expected_.data(), expected_.size()));
  }

  base::Limits limits_;
  std::optional<uring::Ring> ring_;
  std::optional<uring::BufferPool> pool_;
  std::uint32_t free_at_start_ = 0;
  std::string expected_;
};

TEST_F(MessageTest, WholeBuffersAreKeptNotCopied) {
  Message message(*pool_, limits_);
  receive(message, std::string(kBufferBytes, 'a'));
  receive(message, std::string(kBufferBytes, 'b'));
  receive(message, "the end\r\n", true);
  expect_kept(message);
  EXPECT_LE(message.slices().size(), 3U);  // fewer where the buffers are neighbours
  EXPECT_EQ(message.copied_fragment_bytes + message.copied_compact_bytes, 0U);
  message.clear();
  EXPECT_EQ(pool_->free_buffers(), free_at_start_);
}

TEST_F(MessageTest, DribbledBytesDoNotPinBuffers) {
  Message message(*pool_, limits_);
  for (int i = 0; i < 10'000; ++i)
    receive(message, std::string(1, static_cast<char>('a' + i % 26)));
  expect_kept(message);
  EXPECT_LE(message.buffers_held(), 10'000 / kBufferBytes + 2);
  EXPECT_EQ(message.copied_fragment_bytes, 10'000U);
  message.clear();
  EXPECT_EQ(pool_->free_buffers(), free_at_start_);
}

TEST_F(MessageTest, FragmentInTheBufferNextToAFullOne) {
  Message message(*pool_, limits_);
  uring::BufferId low = 0;
  uring::BufferId high = 0;
  ASSERT_TRUE(pool_->take(&low));
  ASSERT_TRUE(pool_->take(&high));
  if (pool_->data(low) > pool_->data(high)) std::swap(low, high);
  ASSERT_EQ(pool_->data(low) + kBufferBytes, pool_->data(high));
  std::memset(pool_->data(low), 'a', kBufferBytes);
  std::memset(pool_->data(high), 'b', 10);
  message.append({pool_->data(low), kBufferBytes}, low);
  message.settle(low);
  message.append({pool_->data(high), 10}, high);
  message.settle(high);
  EXPECT_EQ(joined(message), std::string(kBufferBytes, 'a') + std::string(10, 'b'));
  message.clear();
  pool_->release(low);
  pool_->release(high);
}

TEST_F(MessageTest, StuffedDotsEverywhereStayBounded) {
  Message message(*pool_, limits_);
  std::string chunk;
  while (chunk.size() + 4 < kBufferBytes) chunk += "~.\r\n";
  for (int i = 0; i < 100; ++i) receive(message, chunk);
  expect_kept(message);
  EXPECT_LT(message.slices().size(), 64 + message.bytes() / 256 + 101);
  EXPECT_GT(message.copied_compact_bytes, 0U);
  message.clear();
  EXPECT_EQ(pool_->free_buffers(), free_at_start_);
}

TEST_F(MessageTest, RandomChunksComeOutAsTheyWentIn) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Message message(*pool_, limits_);
    expected_.clear();
    const int chunks = 1 + static_cast<int>(random() % 40);
    for (int i = 0; i < chunks; ++i) {
      std::string bytes(1 + random() % (random() % 2 != 0 ? 40 : kBufferBytes), 'x');
      for (char& c : bytes) c = random() % 9 == 0 ? '~' : static_cast<char>('a' + random() % 26);
      receive(message, bytes, i + 1 == chunks);
    }
    expect_kept(message);
    message.clear();
    ASSERT_EQ(pool_->free_buffers(), free_at_start_);
  }
}

TEST_F(MessageTest, BytesBetweenGathersOnlyWhatStraddles) {
  Message message(*pool_, limits_);
  std::string first(kBufferBytes, 'x');
  first.replace(first.size() - 6, 6, "From: ");
  receive(message, first);
  uring::BufferId spacer = 0;  // so that the two buffers are not neighbours in memory
  ASSERT_TRUE(pool_->take(&spacer));
  receive(message, "someone@example.org\r\n\r\nbody\r\n", true);
  std::string scratch;
  EXPECT_EQ(message.bytes_between(kBufferBytes, kBufferBytes + 7, scratch), "someone");
  EXPECT_EQ(message.copied_header_bytes, 0U);
  EXPECT_EQ(message.bytes_between(kBufferBytes - 6, kBufferBytes + 7, scratch), "From: someone");
  EXPECT_EQ(message.copied_header_bytes, 13U);
  pool_->release(spacer);
}

}  // namespace
}  // namespace mxring::server
