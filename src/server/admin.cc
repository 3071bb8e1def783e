#include "server/admin.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <string_view>
#include <utility>

namespace mxring::server {

namespace {

constexpr int kPollMs = 200;
constexpr timeval kRequestTimeout{2, 0};
constexpr std::size_t kRequestBytesMax = 4096;

std::string response(std::string_view status, std::string_view type, std::string_view body) {
  return fmt::format(
      "HTTP/1.0 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
      status, type, body.size(), body);
}

void send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

}  // namespace

std::expected<std::unique_ptr<Admin>, std::string> Admin::start(const base::Endpoint& endpoint,
                                                                Pages pages) {
  const auto unused = net::Listener::check_unused(endpoint);
  if (!unused) return std::unexpected(unused.error().message + " (listen.admin)");
  auto listener = net::Listener::open(endpoint);
  if (!listener) return std::unexpected(listener.error().message + " (listen.admin)");
  std::unique_ptr<Admin> admin(new Admin(std::move(*listener), std::move(pages)));
  return admin;
}

Admin::Admin(net::Listener listener, Pages pages)
    : listener_(std::move(listener)), pages_(std::move(pages)) {
  thread_ = std::thread([this] { run(); });
}

Admin::~Admin() {
  stopping_.store(true, std::memory_order_relaxed);
  thread_.join();
}

void Admin::run() {
  pthread_setname_np(pthread_self(), "mxring-admin");
  while (!stopping_.load(std::memory_order_relaxed)) {
    pollfd waiting{listener_.fd(), POLLIN, 0};
    if (::poll(&waiting, 1, kPollMs) <= 0) continue;
    const int fd = ::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) continue;
    ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kRequestTimeout, sizeof kRequestTimeout);
    ::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &kRequestTimeout, sizeof kRequestTimeout);
    serve(fd);
    ::close(fd);
  }
}

void Admin::serve(int fd) {
  std::string request;
  char buffer[1024];
  while (request.find("\r\n\r\n") == std::string::npos) {
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0 || request.size() > kRequestBytesMax) return;
    request.append(buffer, static_cast<std::size_t>(got));
  }
  const std::string_view line = std::string_view(request).substr(0, request.find("\r\n"));
  if (line.starts_with("GET /metrics ")) {
    send_all(fd, response("200 OK", "text/plain; version=0.0.4", pages_.metrics()));
  } else if (line.starts_with("GET /status ")) {
    send_all(fd, response("200 OK", "application/json", pages_.status() + "\n"));
  } else if (line.starts_with("GET /healthz ")) {
    const bool healthy = pages_.healthy();
    send_all(fd, response(healthy ? "200 OK" : "503 Service Unavailable", "text/plain",
                          healthy ? "ok\n" : "not accepting mail\n"));
  } else {
    send_all(fd, response("404 Not Found", "text/plain", "try /metrics, /status or /healthz\n"));
  }
}

}  // namespace mxring::server
