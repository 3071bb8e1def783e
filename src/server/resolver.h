// The shard's DNS client on the shard's ring: its sockets are polled by the ring, its timers looked
// at once a turn.
//
// Thread: the shard's; ResolverHealth any.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "dns/client.h"
#include "server/config.h"
#include "uring/ring.h"

namespace mxring::server {

// Tells the operator that the resolver has stopped answering and that it is back, once for all
// shards.
class ResolverHealth {
 public:
  using Notice = std::function<void(const std::string&)>;

  ResolverHealth(const Config& config, Notice notice);
  void on_change(bool answering);                                 // of one shard's client
  void on_refusing(const base::Endpoint& server, bool refusing);  // of one shard's client

 private:
  Notice notice_;
  std::string servers_;  // in words
  std::atomic<std::uint32_t> silent_{0};
  std::mutex mutex_;
  std::map<std::string, std::uint32_t> refusing_;  // the shards that say so, by server
};

class Resolver final : private dns::SocketWatcher, private dns::ResolverListener {
 public:
  static std::expected<std::unique_ptr<Resolver>, std::string> create(const Config& config,
                                                                      uring::Ring& ring,
                                                                      ResolverHealth& health);

  dns::Client& client() { return *client_; }
  void start(base::MonoTime now) { client_->start(now); }
  // A completion with Operation::kPoll.
  void on_poll(const uring::Completion& completion, base::MonoTime now);
  // Once a turn.
  void on_turn(base::MonoTime now);
  // How long the ring may wait; negative = as long as it likes.
  std::int64_t wait_ns(base::MonoTime now) const;

 private:
  // One polled socket. The slot outlives it; the generation tells its polls from later ones.
  struct Watched {
    int fd = -1;
    std::uint32_t events = 0;
    std::uint32_t generation = 0;
  };

  Resolver(uring::Ring& ring, ResolverHealth& health) : ring_(ring), health_(health) {}
  void watch(int fd, bool readable, bool writable) override;
  void on_resolver(bool answering) override;
  void on_refusing(const base::Endpoint& server, bool refusing) override;
  void arm(std::uint32_t slot);

  uring::Ring& ring_;
  ResolverHealth& health_;
  std::vector<Watched> watched_;
  std::unique_ptr<dns::Client> client_;  // goes first: it still calls watch() when it closes
};

}  // namespace mxring::server
