// The shard's DNS client on the shard's ring: its sockets are polled by the ring, its timers looked
// at once a turn. Warnings about a resolver that has stopped answering go to the operator, once.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "dns/client.h"
#include "server/config.h"
#include "uring/ring.h"

namespace mxring::server {

class Resolver final : private dns::SocketWatcher, private dns::ResolverListener {
 public:
  using Notice = std::function<void(const std::string&)>;

  static std::expected<std::unique_ptr<Resolver>, std::string> create(const Config& config,
                                                                      uring::Ring& ring,
                                                                      Notice notice);

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

  Resolver(uring::Ring& ring, Notice notice) : ring_(ring), notice_(std::move(notice)) {}
  void watch(int fd, bool readable, bool writable) override;
  void on_resolver(bool answering) override;
  void arm(std::uint32_t slot);

  uring::Ring& ring_;
  Notice notice_;
  std::vector<Watched> watched_;
  std::unique_ptr<dns::Client> client_;  // goes first: it still calls watch() when it closes
};

}  // namespace mxring::server
