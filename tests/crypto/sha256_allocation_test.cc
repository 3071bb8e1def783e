// A batch allocates nothing after its construction, whatever is hashed with it.
#include <gtest/gtest.h>

#include <cstdlib>
#include <deque>
#include <new>
#include <string>

#include "crypto/sha256_batch.h"

namespace {
std::size_t allocations = 0;
}

void* operator new(std::size_t bytes) {
  ++allocations;
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  std::abort();
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  ++allocations;
  const auto boundary = static_cast<std::size_t>(alignment);
  const std::size_t rounded = (bytes + boundary - 1) / boundary * boundary;
  if (void* memory = std::aligned_alloc(boundary, rounded)) return memory;
  std::abort();
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::align_val_t) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace mxring::crypto {
namespace {

TEST(Sha256AllocationTest, NothingAfterConstruction) {
  const std::string text(100'000, 'a');
  std::deque<Sha256Stream> streams(6000);  // more than one flush takes
  const std::size_t before = allocations;
  EXPECT_GT(before, 0U);
  Sha256Batch batch;
  const std::size_t constructed = allocations;
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
  EXPECT_EQ(allocations, constructed);
  EXPECT_TRUE(streams.back().finished());
}

}  // namespace
}  // namespace mxring::crypto
