// Receive buffers of one shard: one mapping cut into equal buffers, of which a few at a time are
// offered to the ring's engine (with io_uring through a provided-buffer ring).
//
// Ownership of a buffer moves in a circle:
//   free stack -> kernel ring -> completion (one reference, the receiver's) -> add_ref() by every
//   message that keeps a slice of it -> release() by each -> free stack.
// The free stack is last in, first out, so a lightly loaded shard keeps using the same few warm
// buffers and untouched ones never become resident.
//
// Thread: the ring's thread only. The pool dies before its ring; the ring may be moved meanwhile.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <vector>

#include "uring/ring.h"

namespace mxring::uring {

using BufferId = std::uint16_t;

class BufferPool {
 public:
  struct Options {
    std::uint16_t group = 0;
    std::uint32_t buffer_bytes = 16 * 1024;  // power of two
    std::uint32_t buffers = 16'384;          // at most 32,768
    std::uint32_t offered = 256;             // kept in the kernel's ring; power of two
    std::uint32_t kept_back = 0;             // free ones that are not offered: for take()
  };

  static std::expected<BufferPool, RingError> create(Ring& ring, const Options& options);
  BufferPool(BufferPool&&) noexcept;
  BufferPool& operator=(BufferPool&&) = delete;
  ~BufferPool();

  char* data(BufferId id) { return memory_ + std::size_t{id} * options_.buffer_bytes; }
  // The buffer that holds this address; the address must be inside the pool.
  BufferId owner_of(const char* address) const;
  bool contains(const char* address) const;

  // A completion with has_buffer arrived: the buffer is now ours, with one reference.
  void adopt(BufferId id);
  void add_ref(BufferId id);
  void release(BufferId id);
  // A buffer outside the kernel's ring, for gathering fragments; one reference. False when none.
  bool take(BufferId* id);

  // Tops the kernel's ring up from the free stack. Once per loop turn, no system call.
  void replenish();

  std::uint32_t free_buffers() const { return static_cast<std::uint32_t>(free_.size()); }
  std::uint32_t offered_buffers() const { return offered_; }
  // Buffers held by messages and connections: neither free nor offered.
  std::uint32_t held_buffers() const;
  const Options& options() const { return options_; }

 private:
  BufferPool() = default;
  std::size_t memory_bytes() const { return std::size_t{options_.buffers} * options_.buffer_bytes; }

  Options options_;
  unsigned buffer_shift_ = 0;  // buffer_bytes == 1 << buffer_shift_
  Engine* engine_ = nullptr;
  char* memory_ = nullptr;
  std::vector<std::uint32_t> references_;  // as many as a buffer has bytes, if it comes to that
  std::vector<BufferId> free_;
  std::uint32_t offered_ = 0;
};

}  // namespace mxring::uring
