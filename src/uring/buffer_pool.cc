#include "uring/buffer_pool.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/units.h"
#include "uring/ring_impl.h"

namespace mxring::uring {

namespace {

// A reference count no buffer reaches: the kernel may write into this one at any moment.
constexpr std::uint32_t kOffered = ~0U;

void* map_memory(std::size_t bytes, int extra_flags) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | extra_flags, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

RingError memory_error(std::size_t bytes) {
  const int error = errno;
  return {error, fmt::format("no memory for receive buffers: {} ({}); lower limits.memory_bytes",
                             std::strerror(error), base::format_bytes(bytes))};
}

RingError register_error(int error) {
  if (error == EINVAL) {
    return {error,
            "this kernel has no provided-buffer rings (they came with 5.19); mxring needs "
            "Linux 6.1 or newer"};
  }
  return {error, fmt::format("the kernel refused the receive buffers: {}", std::strerror(error))};
}

}  // namespace

std::expected<BufferPool, RingError> BufferPool::create(Ring& ring, const Options& options) {
  MXRING_ASSERT(std::has_single_bit(options.buffer_bytes));
  MXRING_ASSERT(std::has_single_bit(options.offered) && options.offered <= options.buffers);
  MXRING_ASSERT(options.buffers <= 32'768);

  BufferPool pool;
  pool.options_ = options;
  pool.buffer_shift_ = static_cast<unsigned>(std::countr_zero(options.buffer_bytes));
  const std::size_t memory_bytes = pool.memory_bytes();
  // NORESERVE and untouched until used: what is resident follows the peak of use, not the limit.
  pool.memory_ = static_cast<char*>(map_memory(memory_bytes, MAP_NORESERVE));
  if (pool.memory_ == nullptr) return std::unexpected(memory_error(memory_bytes));

  pool.kernel_ring_bytes_ = options.offered * sizeof(io_uring_buf);
  pool.kernel_ring_ = static_cast<io_uring_buf_ring*>(map_memory(pool.kernel_ring_bytes_, 0));
  if (pool.kernel_ring_ == nullptr) return std::unexpected(memory_error(pool.kernel_ring_bytes_));

  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(pool.kernel_ring_);
  registration.ring_entries = options.offered;
  registration.bgid = options.group;
  io_uring* kernel = &ring.impl_->ring;
  const int result = io_uring_register_buf_ring(kernel, &registration, 0);  // 5.19
  if (result < 0) return std::unexpected(register_error(-result));
  pool.ring_ = kernel;

  pool.references_.assign(options.buffers, 0);
  pool.free_.reserve(options.buffers);
  for (std::uint32_t id = options.buffers; id-- > 0;) {
    pool.free_.push_back(static_cast<BufferId>(id));  // buffer 0 on top
  }
  pool.replenish();
  return pool;
}

BufferPool::BufferPool(BufferPool&& other) noexcept
    : options_(other.options_),
      buffer_shift_(other.buffer_shift_),
      ring_(std::exchange(other.ring_, nullptr)),
      kernel_ring_(std::exchange(other.kernel_ring_, nullptr)),
      kernel_ring_bytes_(other.kernel_ring_bytes_),
      memory_(std::exchange(other.memory_, nullptr)),
      references_(std::move(other.references_)),
      free_(std::move(other.free_)),
      offered_(std::exchange(other.offered_, 0)),
      kernel_tail_(other.kernel_tail_) {}

BufferPool::~BufferPool() {
  if (ring_ != nullptr) io_uring_unregister_buf_ring(ring_, options_.group);
  if (kernel_ring_ != nullptr) ::munmap(kernel_ring_, kernel_ring_bytes_);
  if (memory_ != nullptr) ::munmap(memory_, memory_bytes());
}

bool BufferPool::contains(const char* address) const {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const auto begin = reinterpret_cast<std::uintptr_t>(memory_);
  return at >= begin && at - begin < memory_bytes();
}

BufferId BufferPool::owner_of(const char* address) const {
  MXRING_ASSERT(contains(address));
  return static_cast<BufferId>(static_cast<std::size_t>(address - memory_) >> buffer_shift_);
}

void BufferPool::adopt(BufferId id) {
  MXRING_ASSERT(id < options_.buffers && references_[id] == kOffered);
  references_[id] = 1;
  --offered_;
}

void BufferPool::add_ref(BufferId id) {
  MXRING_ASSERT(id < options_.buffers && references_[id] != 0 && references_[id] < kOffered - 1);
  ++references_[id];
}

void BufferPool::release(BufferId id) {
  MXRING_ASSERT(id < options_.buffers && references_[id] != 0 && references_[id] != kOffered);
  if (--references_[id] == 0) free_.push_back(id);
}

bool BufferPool::take(BufferId* id) {
  if (free_.empty()) return false;
  *id = free_.back();
  free_.pop_back();
  references_[*id] = 1;
  return true;
}

void BufferPool::replenish() {
  if (offered_ == options_.offered || free_.size() <= options_.kept_back) return;
  auto* entries = reinterpret_cast<io_uring_buf*>(kernel_ring_);
  const std::uint32_t mask = options_.offered - 1;
  while (offered_ < options_.offered && free_.size() > options_.kept_back) {
    const BufferId id = free_.back();
    free_.pop_back();
    references_[id] = kOffered;
    // Field by field: the reserved part of the first entry is where the kernel reads the tail.
    io_uring_buf& entry = entries[kernel_tail_ & mask];
    entry.addr = reinterpret_cast<std::uintptr_t>(data(id));
    entry.len = options_.buffer_bytes;
    entry.bid = id;
    ++kernel_tail_;
    ++offered_;
  }
  // Pairs with the kernel's acquiring read of the tail: it sees the entries before the index.
  __atomic_store_n(&kernel_ring_->tail, kernel_tail_, __ATOMIC_RELEASE);
}

std::uint32_t BufferPool::held_buffers() const {
  return options_.buffers - free_buffers() - offered_;
}

}  // namespace mxring::uring
