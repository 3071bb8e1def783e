#include "relay/admin.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "base/ip_address.h"
#include "base/text.h"

namespace mxring::relay {

namespace {

constexpr std::size_t kConnectionsMax = 16;
constexpr std::size_t kRequestBytesMax = 8192;
constexpr std::int64_t kPatienceNs = 5 * base::kNsPerSecond;

std::expected<base::OwnedFd, int> listen_at(const sockaddr* address, socklen_t length) {
  base::OwnedFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const int on = 1;
  if (!fd.valid()) return std::unexpected(errno);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), address, length) != 0 || ::listen(fd.get(), 16) != 0) {
    return std::unexpected(errno);
  }
  return fd;
}

std::expected<base::OwnedFd, int> listen_unix(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return std::unexpected(ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  ::unlink(path.c_str());
  return listen_at(reinterpret_cast<sockaddr*>(&address), sizeof address);
}

std::expected<base::OwnedFd, int> listen_ip(const base::Endpoint& at) {
  const auto& bytes = at.address.bytes();
  if (at.address.is_v4()) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(at.port);
    std::memcpy(&address.sin_addr, bytes.data(), 4);
    return listen_at(reinterpret_cast<sockaddr*>(&address), sizeof address);
  }
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(at.port);
  std::memcpy(&address.sin6_addr, bytes.data(), 16);
  return listen_at(reinterpret_cast<sockaddr*>(&address), sizeof address);
}

std::uint16_t port_of(int fd) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

}  // namespace

std::expected<void, std::string> Admin::open(const std::string& address, Pages pages) {
  if (address.empty()) return {};
  pages_ = std::move(pages);
  std::expected<base::OwnedFd, int> made = std::unexpected(EINVAL);
  address_ = address;
  if (address.starts_with("unix:")) {
    unix_path_ = address.substr(5);
    made = listen_unix(unix_path_);
  } else if (auto at = base::Endpoint::parse(address)) {
    made = listen_ip(*at);
    if (made) at->port = port_of(made->get());
    address_ = at->to_string();
  }
  if (!made) {
    return std::unexpected(fmt::format("admin {}: {}", base::escaped(address),
                                       std::system_category().message(made.error())));
  }
  listener_ = std::move(*made);
  return {};
}

Admin::~Admin() {
  if (!unix_path_.empty() && listener_.valid()) ::unlink(unix_path_.c_str());
}

void Admin::add_waits(std::vector<pollfd>& waits) const {
  if (!listener_.valid()) return;
  if (connections_.size() < kConnectionsMax) waits.push_back({listener_.get(), POLLIN, 0});
  for (const Connection& connection : connections_) {
    const short wanted = connection.out.empty() ? POLLIN : POLLOUT;
    waits.push_back({connection.fd.get(), wanted, 0});
  }
}

std::string Admin::answer(std::string_view request) const {
  const std::string_view line = request.substr(0, request.find("\r\n"));
  const std::size_t first = line.find(' ');
  const std::size_t second = line.find(' ', first + 1);
  Page page;
  if (first == std::string_view::npos || second == std::string_view::npos) {
    page.status = 400;
  } else if (line.substr(0, first) != "GET" && line.substr(0, first) != "HEAD") {
    page.status = 405;
  } else {
    std::string_view path = line.substr(first + 1, second - first - 1);
    page = pages_(path.substr(0, path.find('?')));
  }
  const char* reason = page.status == 200   ? "OK"
                       : page.status == 503 ? "Service Unavailable"
                       : page.status == 404 ? "Not Found"
                       : page.status == 405 ? "Method Not Allowed"
                                            : "Bad Request";
  std::string out = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n"
      "X-Content-Type-Options: nosniff\r\n\r\n",
      page.status, reason, page.type, page.body.size());
  if (line.substr(0, 4) != "HEAD") out += page.body;
  return out;
}

// False when it is over.
bool Admin::serve(Connection& connection) {
  if (connection.out.empty()) {
    char bytes[4096];
    const ssize_t got = ::recv(connection.fd.get(), bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0) return errno == EAGAIN || errno == EINTR;
    if (got == 0) return false;
    connection.in.append(bytes, static_cast<std::size_t>(got));
    if (connection.in.find("\r\n\r\n") == std::string::npos) {
      return connection.in.size() < kRequestBytesMax;
    }
    connection.out = answer(connection.in);
  }
  const ssize_t sent = ::send(connection.fd.get(), connection.out.data(), connection.out.size(),
                              MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) return errno == EAGAIN || errno == EINTR;
  connection.out.erase(0, static_cast<std::size_t>(sent));
  return !connection.out.empty();
}

void Admin::work(base::Now now) {
  if (!listener_.valid()) return;
  while (connections_.size() < kConnectionsMax) {
    base::OwnedFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) break;
    connections_.push_back({std::move(fd), {}, {}, now.mono + kPatienceNs});
  }
  connections_.remove_if(
      [&](Connection& connection) { return now.mono > connection.until || !serve(connection); });
}

}  // namespace mxring::relay
