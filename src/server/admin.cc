#include "server/admin.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

namespace mxring::server {

namespace {

constexpr std::int64_t kPollMs = 200;  // how long the end of the program may go unnoticed
constexpr std::int64_t kRequestNs = 2 * base::kNsPerSecond;
constexpr std::size_t kRequestBytesMax = 4096;

std::string response(std::string_view status, std::string_view type, std::string_view body) {
  return fmt::format(
      "HTTP/1.0 {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{}",
      status, type, body.size(), body);
}

}  // namespace

std::expected<net::Listener, std::string> Admin::listen(const base::Endpoint& endpoint) {
  const auto unused = net::Listener::check_unused(endpoint);
  if (!unused) return std::unexpected(unused.error().message + " (listen.admin)");
  auto listener = net::Listener::open(endpoint);
  if (!listener) return std::unexpected(listener.error().message + " (listen.admin)");
  return std::move(*listener);
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
    const int fd = ::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) continue;
    serve(fd);
    ::close(fd);
  }
}

bool Admin::ready(int fd, short events, base::MonoTime deadline) const {
  while (!stopping_.load(std::memory_order_relaxed)) {
    const std::int64_t left_ms = (deadline - base::read_clocks().mono) / base::kNsPerMs;
    if (left_ms <= 0) return false;
    pollfd waiting{fd, events, 0};
    const int found = ::poll(&waiting, 1, static_cast<int>(std::min(kPollMs, left_ms)));
    if (found > 0) return true;
    if (found < 0 && errno != EINTR) return false;
  }
  return false;
}

void Admin::send_all(int fd, std::string_view text, base::MonoTime deadline) const {
  while (!text.empty() && ready(fd, POLLOUT, deadline)) {
    const ssize_t sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (sent <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

void Admin::serve(int fd) {
  const base::MonoTime deadline = base::read_clocks().mono + kRequestNs;
  std::string request;
  char buffer[1024];
  while (request.find("\r\n\r\n") == std::string::npos) {
    if (request.size() > kRequestBytesMax || !ready(fd, POLLIN, deadline)) return;
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) return;
    request.append(buffer, static_cast<std::size_t>(got));
  }
  const auto answer = [&](std::string_view status, std::string_view type, std::string_view body) {
    send_all(fd, response(status, type, body), deadline);
  };
  const std::string_view line = std::string_view(request).substr(0, request.find("\r\n"));
  if (line.starts_with("GET /metrics ")) {
    answer("200 OK", "text/plain; version=0.0.4", pages_.metrics());
  } else if (line.starts_with("GET /status ")) {
    answer("200 OK", "application/json", pages_.status() + "\n");
  } else if (line.starts_with("GET /healthz ")) {
    const std::string why_not = pages_.why_not_accepting();
    if (why_not.empty()) {
      answer("200 OK", "text/plain", "ok\n");
    } else {
      answer("503 Service Unavailable", "text/plain",
             fmt::format("not accepting mail: {}\n", why_not));
    }
  } else {
    answer("404 Not Found", "text/plain", "try /metrics, /status or /healthz\n");
  }
}

}  // namespace mxring::server
