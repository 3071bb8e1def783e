#include "net/tls_heap.h"

#include <malloc.h>
#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/wolfcrypt/memory.h>

#include <cstdlib>

#include "base/assert.h"

namespace mxring::net {

namespace {

thread_local TlsHeap* t_heap = nullptr;

void count(void* block, int sign) {
  if (t_heap == nullptr || block == nullptr) return;
  t_heap->add(sign * static_cast<std::ptrdiff_t>(::malloc_usable_size(block)));
}

void* allocate(std::size_t bytes) {
  void* const block = std::malloc(bytes);
  count(block, 1);
  return block;
}

void release(void* block) {
  count(block, -1);
  std::free(block);
}

void* resize(void* block, std::size_t bytes) {
  count(block, -1);
  void* const resized = std::realloc(block, bytes);
  count(resized != nullptr ? resized : block, 1);  // when there was no memory the old one is left
  return resized;
}

}  // namespace

TlsHeapInUse::TlsHeapInUse(TlsHeap& heap) : before_(t_heap) {
  t_heap = &heap;
}
TlsHeapInUse::~TlsHeapInUse() {
  t_heap = before_;
}

TlsHeapPaused::TlsHeapPaused() : before_(t_heap) {
  t_heap = nullptr;
}
TlsHeapPaused::~TlsHeapPaused() {
  t_heap = before_;
}

void count_tls_heap() {
  const int result = wolfSSL_SetAllocators(allocate, release, resize);
  MXRING_ASSERT(result == 0);
}

}  // namespace mxring::net
