// How a shard's memory limit becomes receive buffers, and whether that is enough to receive mail.
#pragma once

#include <cstdint>

#include "server/config.h"
#include "uring/buffer_pool.h"

namespace mxring::server {

struct BufferPlan {
  uring::BufferPool::Options pool;
  std::uint32_t low = 0;  // fewer free ones than this: memory is short

  // What one message may fill when there is no other.
  std::uint64_t message_bytes() const {
    return std::uint64_t{pool.buffers - pool.offered - pool.kept_back} * pool.buffer_bytes;
  }
};

BufferPlan plan_buffers(const Config& config);

// Whether a message of the largest size can be received at all.
bool holds_a_message(const Config& config);

}  // namespace mxring::server
