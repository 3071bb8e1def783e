#include "net/listener.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket_address.h"

namespace mxring::net {

namespace {

constexpr int kBacklog = 4096;  // capped by net.core.somaxconn

ListenError listen_error(const base::Endpoint& endpoint, int error) {
  const std::string where = endpoint.to_string();
  switch (error) {
    case EADDRINUSE:
      return {error, fmt::format("cannot listen on {}: another program has this port; find it with "
                                 "\"ss -ltnp\", or choose another with --smtp or --smtps",
                                 where)};
    case EACCES:
      return {error, fmt::format("cannot listen on {}: ports below 1024 need root or "
                                 "CAP_NET_BIND_SERVICE",
                                 where)};
    case EADDRNOTAVAIL:
      return {error, fmt::format("cannot listen on {}: this host has no such address", where)};
    default:
      return {error, fmt::format("cannot listen on {}: {}", where, std::strerror(error))};
  }
}

}  // namespace

std::expected<Listener, ListenError> Listener::open(const base::Endpoint& endpoint) {
  sockaddr_storage storage{};
  const socklen_t size = to_sockaddr(endpoint, storage);
  Listener listener;
  listener.fd_ = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (listener.fd_ < 0) return std::unexpected(listen_error(endpoint, errno));
  const int on = 1;
  ::setsockopt(listener.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  ::setsockopt(listener.fd_, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
  ::setsockopt(listener.fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // [::] would otherwise take IPv4 as well and collide with a 0.0.0.0 listener.
  if (!endpoint.address.is_v4()) {
    ::setsockopt(listener.fd_, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (::bind(listener.fd_, reinterpret_cast<sockaddr*>(&storage), size) != 0 ||
      ::listen(listener.fd_, kBacklog) != 0) {
    return std::unexpected(listen_error(endpoint, errno));
  }
  sockaddr_storage bound{};
  socklen_t bound_size = sizeof bound;
  ::getsockname(listener.fd_, reinterpret_cast<sockaddr*>(&bound), &bound_size);
  listener.endpoint_ = {endpoint.address, from_sockaddr(bound).port};
  return listener;
}

std::expected<Listener, ListenError> Listener::adopt(int fd) {
  Listener listener;
  listener.fd_ = fd;
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens != 1) {
    return std::unexpected(
        ListenError{EINVAL, fmt::format("descriptor {}: no socket that listens", fd)});
  }
  sockaddr_storage bound{};
  socklen_t bound_size = sizeof bound;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &bound_size);
  if (bound.ss_family != AF_INET && bound.ss_family != AF_INET6) {
    return std::unexpected(
        ListenError{EAFNOSUPPORT, fmt::format("descriptor {}: not a TCP socket", fd)});
  }
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  // The ring waits for a connection; a socket that does not block would answer at once that there
  // is none.
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  listener.endpoint_ = from_sockaddr(bound);
  return listener;
}

std::expected<Listener, ListenError> Listener::another() const {
  Listener listener;
  listener.fd_ = ::fcntl(fd_, F_DUPFD_CLOEXEC, 0);
  if (listener.fd_ < 0) return std::unexpected(listen_error(endpoint_, errno));
  listener.endpoint_ = endpoint_;
  return listener;
}

std::expected<void, ListenError> Listener::check_unused(const base::Endpoint& endpoint) {
  sockaddr_storage storage{};
  const socklen_t size = to_sockaddr(endpoint, storage);
  Listener probe;
  probe.fd_ = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
  if (probe.fd_ < 0) return std::unexpected(listen_error(endpoint, errno));
  const int on = 1;
  // Connections of an earlier server that linger in TIME_WAIT are no obstacle; a listener is.
  ::setsockopt(probe.fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (!endpoint.address.is_v4()) {
    ::setsockopt(probe.fd_, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  // The kernel takes down the ring of a server that was killed a moment after the process has gone,
  // and its listeners with it: whoever starts it again at once waits for that.
  constexpr int kTries = 25;
  constexpr int kPauseMs = 20;
  for (int tries = 1;; ++tries) {
    if (::bind(probe.fd_, reinterpret_cast<sockaddr*>(&storage), size) == 0) return {};
    if (errno != EADDRINUSE || tries == kTries) {
      return std::unexpected(listen_error(endpoint, errno));
    }
    ::poll(nullptr, 0, kPauseMs);
  }
}

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), endpoint_(other.endpoint_) {}

Listener& Listener::operator=(Listener&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(endpoint_, other.endpoint_);
  return *this;
}

Listener::~Listener() {
  if (fd_ >= 0) ::close(fd_);
}

base::Endpoint peer_of(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return from_sockaddr(storage);
}

}  // namespace mxring::net
