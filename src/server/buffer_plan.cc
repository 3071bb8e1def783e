#include "server/buffer_plan.h"

#include <algorithm>
#include <bit>

#include "net/connection.h"

namespace mxring::server {

namespace {

constexpr std::uint32_t kBuffersMax = 32'768;  // what a 16-bit buffer id can name
// For decryption, which must go on when all others wait to be received into, or hold messages.
constexpr std::uint32_t kBuffersKeptBack = 16;
// Below a sixteenth of the memory it is short; and below what is on offer twice, because that much
// may arrive within one turn. But no more than half of it.
constexpr std::uint32_t kLowShare = 16;
// What its connection needs besides: TLS, the envelope, the evaluation of its verdict.
constexpr std::uint64_t kBesidesMessage = 256 * base::kKiB;
constexpr std::uint32_t kLowShareMax = 2;

}  // namespace

// Enough buffers for the memory limit plus those offered to the kernel; larger ones when there
// would be more than can be named.
BufferPlan plan_buffers(const Config& config) {
  BufferPlan plan;
  uring::BufferPool::Options& pool = plan.pool;
  pool.group = net::Connection::kBufferGroup;
  pool.buffer_bytes = std::bit_ceil(config.shards.buffer_bytes);
  pool.offered = std::bit_ceil(config.shards.buffers_offered);
  pool.kept_back = kBuffersKeptBack;
  std::uint64_t for_messages = 0;
  for (;; pool.buffer_bytes *= 2) {
    for_messages = config.limits.memory_bytes / pool.buffer_bytes;
    if (for_messages + pool.offered + pool.kept_back <= kBuffersMax) break;
  }
  const auto kept = static_cast<std::uint32_t>(for_messages);
  pool.buffers = kept + pool.offered + pool.kept_back;
  plan.low = std::min(std::max(pool.offered * 2, pool.buffers / kLowShare), kept / kLowShareMax);
  return plan;
}

bool holds_a_message(const Config& config) {
  const BufferPlan plan = plan_buffers(config);
  return plan.message_bytes() >= config.limits.message_bytes + kBesidesMessage;
}

}  // namespace mxring::server
