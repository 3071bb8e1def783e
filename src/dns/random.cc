#include "dns/random.h"

#include <sys/random.h>

#include <array>
#include <cstring>

#include "base/assert.h"

namespace mxring::dns {

void random_bytes(void* out, std::size_t size) {
  // getrandom() is neither cut short nor interrupted up to this size.
  static thread_local std::array<unsigned char, 256> pool;
  static thread_local std::size_t left = 0;
  MXRING_ASSERT(size <= pool.size());
  if (left < size) {
    const ssize_t got = getrandom(pool.data(), pool.size(), 0);
    MXRING_ASSERT(got == static_cast<ssize_t>(pool.size()));
    left = pool.size();
  }
  left -= size;
  std::memcpy(out, pool.data() + left, size);
}

}  // namespace mxring::dns
