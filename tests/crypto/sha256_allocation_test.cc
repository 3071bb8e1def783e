// A batch allocates nothing after its construction, whatever is hashed with it.
#include <gtest/gtest.h>

#include <deque>
#include <string>

#include "crypto/sha256_batch.h"
#include "tests/support/allocation_count.h"

namespace mxring::crypto {
namespace {

TEST(Sha256AllocationTest, NothingAfterConstruction) {
  const std::string text(100'000, 'a');
  std::deque<Sha256Stream> streams(6000);  // more than one flush takes
  const std::uint64_t before = test::allocation_count();
  EXPECT_GT(before, 0U);
  Sha256Batch batch;
  const std::uint64_t constructed = test::allocation_count();
  EXPECT_GT(constructed, before);
  for (int turn = 0; turn < 3; ++turn) {
    for (std::size_t i = 0; i < streams.size(); ++i) {
      streams[i].reset();
      // Short and long pieces, few and many streams.
      const std::size_t pieces = i % 1000 == 0 ? 3000 : 2;
      for (std::size_t piece = 0; piece < pieces; ++piece) {
        batch.append(streams[i], std::string_view(text).substr(0, (i + 97 * piece) % 700));
      }
      if (i % 3000 == 5) batch.append(streams[i], text);
      batch.finish(streams[i]);
      if (i % 997 == 0) batch.forget(streams[i]);
      if (i % 1500 < 40) batch.flush();
    }
    batch.flush();
  }
  EXPECT_EQ(test::allocation_count(), constructed);
  EXPECT_TRUE(streams.back().finished());
}

}  // namespace
}  // namespace mxring::crypto
