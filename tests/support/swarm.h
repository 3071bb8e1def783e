// Thousands of SMTP clients on one epoll loop: each follows a fixed list of lines, waits for the
// reply to each, and may send a message body. What a client does after its list is up to its kind.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::test {

using Clock = std::chrono::steady_clock;

enum class Kind : std::uint8_t {
  kIdle,      // EHLO, then silence
  kDribbler,  // DATA, then one byte whenever dribble() is called
  kGood,      // messages for as long as running() says
  kOnce,      // one message, then done
};

struct SwarmClient {
  Kind kind = Kind::kIdle;
  int fd = -1;
  enum class At : std::uint8_t { kBanner, kEhlo, kIdle, kMail, kRcpt, kData, kBody, kFinal, kOver };
  At at = At::kBanner;
  std::size_t body_sent = 0;
  std::string input;
  std::string last_reply;  // the one that ended it
  Clock::time_point final_dot;
};

class Swarm {
 public:
  Swarm(std::uint16_t port, std::string body) : port_(port), body_(std::move(body)) {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  }
  Swarm(const Swarm&) = delete;
  Swarm& operator=(const Swarm&) = delete;
  ~Swarm() {
    for (auto& client : clients_) {
      if (client->fd >= 0) ::close(client->fd);
    }
    ::close(epoll_);
  }

  // Room for this many descriptors, or false.
  static bool allow_descriptors(rlim_t wanted) {
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < wanted) return false;
    limit.rlim_cur = limit.rlim_max;
    return ::setrlimit(RLIMIT_NOFILE, &limit) == 0;
  }

  bool add(Kind kind) {
    auto client = std::make_unique<SwarmClient>();
    client->kind = kind;
    client->fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (client->fd < 0 || ::connect(client->fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
      return false;
    }
    const int on = 1;
    ::setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = client.get();
    ::epoll_ctl(epoll_, EPOLL_CTL_ADD, client->fd, &event);
    clients_.push_back(std::move(client));
    return true;
  }

  // Handles what happens within `at_most`.
  void turn(std::chrono::milliseconds at_most) {
    epoll_event events[512];
    const int n = ::epoll_wait(epoll_, events, 512, static_cast<int>(at_most.count()));
    for (int i = 0; i < n; ++i) {
      auto& client = *static_cast<SwarmClient*>(events[i].data.ptr);
      if (client.at == SwarmClient::At::kOver) continue;
      if ((events[i].events & EPOLLOUT) != 0) send_body(client);
      if ((events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(client);
    }
  }

  void run_for(std::chrono::milliseconds time) {
    const auto end = Clock::now() + time;
    while (Clock::now() < end) turn(std::chrono::milliseconds(20));
  }

  // One byte from each dribbler.
  void dribble() {
    for (auto& client : clients_) {
      if (client->kind == Kind::kDribbler && client->at == SwarmClient::At::kBody) {
        ::send(client->fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
      }
    }
  }

  void set_running(bool running) { running_ = running; }
  std::vector<double>& latencies_ms() { return latencies_ms_; }
  std::size_t count(Kind kind, SwarmClient::At at) const {
    std::size_t n = 0;
    for (const auto& client : clients_) n += client->kind == kind && client->at == at ? 1 : 0;
    return n;
  }
  const std::vector<std::unique_ptr<SwarmClient>>& clients() const { return clients_; }

 private:
  using At = SwarmClient::At;

  void say(SwarmClient& client, std::string_view line) {
    ::send(client.fd, line.data(), line.size(), MSG_NOSIGNAL);
  }

  void end(SwarmClient& client, std::string reply) {
    client.last_reply = std::move(reply);
    client.at = At::kOver;
    ::close(client.fd);
    client.fd = -1;
  }

  void watch_output(SwarmClient& client, bool on) {
    epoll_event event{};
    event.events = on ? EPOLLIN | EPOLLOUT : EPOLLIN;
    event.data.ptr = &client;
    ::epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &event);
  }

  void send_body(SwarmClient& client) {
    if (client.at != At::kBody || client.kind == Kind::kDribbler) return;
    const ssize_t sent = ::send(client.fd, body_.data() + client.body_sent,
                                std::min<std::size_t>(body_.size() - client.body_sent, 1 << 18),
                                MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) return end(client, "broken while sending");
    if (sent > 0) client.body_sent += static_cast<std::size_t>(sent);
    if (client.body_sent == body_.size()) {
      client.final_dot = Clock::now();
      client.at = At::kFinal;
      watch_output(client, false);
    }
  }

  void receive(SwarmClient& client) {
    char bytes[2048];
    const ssize_t got = ::recv(client.fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return end(client, client.input.empty() ? "closed" : client.input);
    client.input.append(bytes, static_cast<std::size_t>(got));
    for (;;) {
      const std::size_t line_end = client.input.find("\r\n");
      if (line_end == std::string::npos) return;
      const std::string line = client.input.substr(0, line_end);
      client.input.erase(0, line_end + 2);
      if (line.size() > 3 && line[3] == '-') continue;
      on_reply(client, line);
      if (client.at == At::kOver) return;
    }
  }

  void on_reply(SwarmClient& client, const std::string& reply) {
    if (reply[0] == '4' || reply[0] == '5') return end(client, reply);
    switch (client.at) {
      case At::kBanner:
        client.at = At::kEhlo;
        return say(client, "EHLO swarm.example\r\n");
      case At::kEhlo:
        if (client.kind == Kind::kIdle) {
          client.at = At::kIdle;
          return;
        }
        client.at = At::kMail;
        return say(client, "MAIL FROM:<a@swarm.example>\r\n");
      case At::kMail:
        client.at = At::kRcpt;
        return say(client, "RCPT TO:<b@swarm.example>\r\n");
      case At::kRcpt:
        client.at = At::kData;
        return say(client, "DATA\r\n");
      case At::kData:
        client.at = At::kBody;
        client.body_sent = 0;
        if (client.kind == Kind::kDribbler) return;
        watch_output(client, true);
        return send_body(client);
      case At::kFinal:
        latencies_ms_.push_back(
            std::chrono::duration<double, std::milli>(Clock::now() - client.final_dot).count());
        if (client.kind == Kind::kGood && running_) {
          client.at = At::kMail;
          return say(client, "MAIL FROM:<a@swarm.example>\r\n");
        }
        return end(client, reply);
      case At::kIdle:
      case At::kBody:
      case At::kOver:
        return;
    }
  }

  std::uint16_t port_;
  std::string body_;
  int epoll_;
  bool running_ = true;
  std::vector<std::unique_ptr<SwarmClient>> clients_;
  std::vector<double> latencies_ms_;
};

}  // namespace mxring::test
