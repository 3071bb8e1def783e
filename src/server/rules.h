// What is in force for a connection: the configuration and what is made of it once, for all of its
// sessions. A reload makes new rules; a conversation keeps those it began with, so that nothing
// changes in the middle of a dialogue, and the last one to leave frees them.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "server/block_list.h"
#include "server/config.h"
#include "server/policy.h"
#include "smtp/session.h"

namespace mxring::server {

struct Rules {
  Rules(const Config& given, bool has_certificates);

  const Config config;
  const Policy policy;
  const std::vector<BlockList> lists;
  const smtp::SessionOptions session;
};

// Where the server puts them and shards find them. Any thread.
class RulesBoard {
 public:
  explicit RulesBoard(std::shared_ptr<const Rules> first) : current_(std::move(first)) {}

  // Changes with every replace(): a shard looks at it once a turn, without a lock. Acquire pairs
  // with the release in replace(); the rules themselves are handed over under the lock.
  std::uint64_t edition() const { return edition_.load(std::memory_order_acquire); }
  std::shared_ptr<const Rules> current() const {
    const std::lock_guard lock(mutex_);
    return current_;
  }
  void replace(std::shared_ptr<const Rules> fresh) {
    const std::lock_guard lock(mutex_);
    current_ = std::move(fresh);
    edition_.fetch_add(1, std::memory_order_release);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Rules> current_;
  std::atomic<std::uint64_t> edition_{1};
};

}  // namespace mxring::server
