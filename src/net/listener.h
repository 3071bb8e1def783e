// A listening TCP socket of one shard. Every shard binds its own with SO_REUSEPORT, so the kernel
// spreads connections over them without a shared accept queue.
//
// TCP_NODELAY is set here once; accepted sockets inherit it.
#pragma once

#include <expected>
#include <string>

#include "base/ip_address.h"

namespace mxring::net {

struct ListenError {
  int error = 0;
  std::string message;  // one line: what could not be bound, why, what to do
};

class Listener {
 public:
  static std::expected<Listener, ListenError> open(const base::Endpoint& endpoint);
  // SO_REUSEPORT would also let a second server of the same user share the port in silence, and
  // take half of the mail; so the first shard asks this before it opens its listener.
  static std::expected<void, ListenError> check_unused(const base::Endpoint& endpoint);
  // A socket that listens already, from whoever started us. Ours from now on; the same one may be
  // had several times with another().
  static std::expected<Listener, ListenError> adopt(int fd);
  std::expected<Listener, ListenError> another() const;
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&& other) noexcept;
  ~Listener();

  int fd() const { return fd_; }
  const base::Endpoint& endpoint() const { return endpoint_; }  // port 0 resolved

 private:
  Listener() = default;
  int fd_ = -1;
  base::Endpoint endpoint_;
};

// The client's address of a connected socket; the unspecified address if it has gone already.
base::Endpoint peer_of(int fd);

}  // namespace mxring::net
