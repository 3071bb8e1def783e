// Counts connections over all shards, in all and per client network, and says whether one more may
// come in. A lock is taken once per connection, never per message.
//
// A balancer or proxy (`listen.proxy`, `listen.xclient`) is counted in all only. Once it has named
// the client it speaks for, the place moves to that client, whose address exempts from nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "base/ip_address.h"
#include "base/limits.h"

namespace mxring::server {

class ConnectionGate {
 public:
  explicit ConnectionGate(const base::Limits& limits)
      : all_max_(limits.connections), per_ip_max_(limits.connections_per_ip) {}

  // A connection's place; leave() gives it back.
  struct Place {
    std::optional<base::IpAddress> network;  // it is counted for
  };

  // Loopback clients are not limited by address, nor is who speaks for others.
  [[nodiscard]] std::optional<Place> enter(const base::IpAddress& client,
                                           bool speaks_for_others = false) {
    const std::lock_guard lock(mutex_);
    if (all_ >= all_max_) return std::nullopt;
    Place place;
    if (!client.is_loopback() && !speaks_for_others) {
      place.network = client.client_network();
      if (!count(*place.network)) return std::nullopt;
    }
    ++all_;
    return place;
  }
  // False: the client it is for has as many as it may have; the place is as it was.
  [[nodiscard]] bool move(Place& place, const base::IpAddress& client) {
    const std::lock_guard lock(mutex_);
    const base::IpAddress network = client.client_network();
    if (place.network == network) return true;
    if (!count(network)) return false;
    forget(place);
    place.network = network;
    return true;
  }
  void leave(const Place& place) {
    const std::lock_guard lock(mutex_);
    --all_;
    forget(place);
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
  bool count(const base::IpAddress& network) {
    const auto at = per_network_.try_emplace(network, 0).first;
    if (at->second >= per_ip_max_) return false;
    ++at->second;
    return true;
  }
  void forget(const Place& place) {
    if (!place.network) return;
    const auto at = per_network_.find(*place.network);
    if (at != per_network_.end() && --at->second == 0) per_network_.erase(at);
  }

  mutable std::mutex mutex_;
  const std::uint32_t all_max_;
  std::uint32_t per_ip_max_;
  std::uint32_t all_ = 0;
  std::unordered_map<base::IpAddress, std::uint32_t, base::IpAddressHash> per_network_;
};

}  // namespace mxring::server
