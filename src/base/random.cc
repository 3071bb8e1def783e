#include "base/random.h"

#include <sys/random.h>

#include <array>
#include <cstring>

#include "base/assert.h"

namespace mxring::base {

namespace {

struct Source {
  // getrandom() is neither cut short nor interrupted up to this size.
  std::array<unsigned char, 256> pool;
  std::size_t left = 0;
  bool seeded = false;
  std::uint64_t state = 0;

  void refill() {
    if (!seeded) {
      const ssize_t got = getrandom(pool.data(), pool.size(), 0);
      MXRING_ASSERT(got == static_cast<ssize_t>(pool.size()));
    } else {
      for (std::size_t at = 0; at < pool.size(); at += sizeof state) {
        const std::uint64_t word = next();
        std::memcpy(pool.data() + at, &word, sizeof word);
      }
    }
    left = pool.size();
  }

  // SplitMix64.
  std::uint64_t next() {
    state += 0x9E3779B97F4A7C15ULL;
    std::uint64_t word = state;
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9ULL;
    word = (word ^ (word >> 27)) * 0x94D049BB133111EBULL;
    return word ^ (word >> 31);
  }
};

thread_local Source source;

}  // namespace

void random_bytes(void* out, std::size_t size) {
  MXRING_ASSERT(size <= source.pool.size());
  if (source.left < size) source.refill();
  source.left -= size;
  std::memcpy(out, source.pool.data() + source.left, size);
}

std::uint64_t random_u64() {
  std::uint64_t word = 0;
  random_bytes(&word, sizeof word);
  return word;
}

void seed_random(std::uint64_t seed) {
  source.seeded = true;
  source.state = seed;
  source.left = 0;
}

}  // namespace mxring::base
