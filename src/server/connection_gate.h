// Counts connections over all shards, in all and per client network, and says whether one more may
// come in. A lock is taken once per connection, never per message.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "base/ip_address.h"
#include "base/limits.h"

namespace mxring::server {

class ConnectionGate {
 public:
  explicit ConnectionGate(const base::Limits& limits)
      : all_max_(limits.connections), per_ip_max_(limits.connections_per_ip) {}

  // True: counted; leave() must follow. Loopback clients are not limited by address.
  bool enter(const base::IpAddress& client) {
    const std::lock_guard lock(mutex_);
    if (all_ >= all_max_) return false;
    if (!client.is_loopback()) {
      std::uint32_t& count = per_network_[client.client_network()];
      if (count >= per_ip_max_) return false;
      ++count;
    }
    ++all_;
    return true;
  }

  void leave(const base::IpAddress& client) {
    const std::lock_guard lock(mutex_);
    --all_;
    if (client.is_loopback()) return;
    const auto at = per_network_.find(client.client_network());
    if (at != per_network_.end() && --at->second == 0) per_network_.erase(at);
  }

  // For those who come in from now on.
  void change(const base::Limits& limits) {
    const std::lock_guard lock(mutex_);
    per_ip_max_ = std::min(limits.connections_per_ip, all_max_);
  }

  std::uint32_t all() const {
    const std::lock_guard lock(mutex_);
    return all_;
  }

 private:
  mutable std::mutex mutex_;
  const std::uint32_t all_max_;
  std::uint32_t per_ip_max_;
  std::uint32_t all_ = 0;
  std::unordered_map<base::IpAddress, std::uint32_t, base::IpAddressHash> per_network_;
};

}  // namespace mxring::server
