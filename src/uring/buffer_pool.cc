#include "uring/buffer_pool.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/units.h"
#include "uring/engine.h"

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
  return {error, fmt::format("no memory for receive buffers: {} ({}); lower limits.memory",
                             std::strerror(error), base::format_bytes(bytes))};
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

  const auto added = ring.engine().add_group(
      {.group = options.group, .entries = options.offered, .buffer_bytes = options.buffer_bytes});
  if (!added) return std::unexpected(added.error());
  pool.engine_ = &ring.engine();

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
      engine_(std::exchange(other.engine_, nullptr)),
      memory_(std::exchange(other.memory_, nullptr)),
      references_(std::move(other.references_)),
      free_(std::move(other.free_)),
      offered_(std::exchange(other.offered_, 0)) {}

BufferPool::~BufferPool() {
  if (engine_ != nullptr) engine_->remove_group(options_.group);
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
  MXRING_ASSERT(offered_ > 0);
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
  MXRING_ASSERT(engine_ != nullptr && references_[free_.back()] == 0);
  *id = free_.back();
  free_.pop_back();
  references_[*id] = 1;
  return true;
}

void BufferPool::replenish() {
  if (offered_ == options_.offered || free_.size() <= options_.kept_back) return;
  while (offered_ < options_.offered && free_.size() > options_.kept_back) {
    const BufferId id = free_.back();
    free_.pop_back();
    references_[id] = kOffered;
    engine_->offer(options_.group, id, data(id));
    ++offered_;
  }
  engine_->publish(options_.group);
}

std::uint32_t BufferPool::held_buffers() const {
  MXRING_ASSERT(free_buffers() + offered_ <= options_.buffers);
  return options_.buffers - free_buffers() - offered_;
}

}  // namespace mxring::uring
