// A small SMTP server whose manners the test decides: one blocking thread per connection, replies
// from a function, stalls on demand. It stops, and joins its threads, in the destructor.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace mxring::test {

struct Manners {
  std::string banner = "220 tiny.example ESMTP\r\n";
  std::string ehlo = "250-tiny.example greets you\r\n250-PIPELINING\r\n250 SIZE 50000000\r\n";
  // The reply to a line, or to the content (for which the line is "."), where it is not the usual
  // one; `message` counts the messages that have reached that command. "" = the usual reply,
  // "close" = close the connection, "silence" = never answer.
  std::function<std::string(std::string_view line, std::uint64_t message)> reply;
  std::chrono::milliseconds stall{0};       // everything stands still for so long ...
  std::uint64_t stall_at = 0;               // ... when this many messages have been taken
  bool byte_by_byte = false;                // replies go out in segments of one byte ...
  std::chrono::milliseconds byte_pause{0};  // ... with this between them
};

class TinyServer {
 public:
  explicit TinyServer(Manners manners) : manners_(std::move(manners)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(listener_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(listener_, 512);
    ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  TinyServer(const TinyServer&) = delete;
  TinyServer& operator=(const TinyServer&) = delete;
  ~TinyServer() { stop(); }

  // As a crashed server: the port is closed and every connection with it.
  void stop() {
    if (stopping_.exchange(true)) return;
    ::shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    ::close(listener_);
    {
      const std::lock_guard lock(mutex_);
      for (const int fd : open_) ::shutdown(fd, SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
  }

  std::uint16_t port() const { return port_; }
  std::uint64_t messages() const { return messages_.load(); }
  std::uint64_t connections() const { return connections_.load(); }
  // Segments in which a MAIL and a DATA command came together.
  std::uint64_t pipelined() const { return pipelined_.load(); }
  // Messages as they came over the wire, end of data included; and the RCPT lines.
  std::vector<std::string> contents() {
    const std::lock_guard lock(mutex_);
    return contents_;
  }
  std::vector<std::string> recipients() {
    const std::lock_guard lock(mutex_);
    return recipients_;
  }
  std::uint64_t resets() const { return resets_.load(); }

 private:
  struct Session {
    int fd = -1;
    std::string input;
    std::size_t searched = 0;  // of the input, without finding the end of what is being taken
    bool in_content = false;
    bool over = false;
  };

  void accept_all() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      ++connections_;
      const int on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      const std::lock_guard lock(mutex_);
      open_.push_back(fd);
      threads_.emplace_back([this, fd] { serve(fd); });
    }
  }

  void serve(int fd) {
    Session session;
    session.fd = fd;
    say(session, manners_.banner);
    char bytes[65536];
    while (!session.over) {
      const ssize_t got = ::recv(fd, bytes, sizeof bytes, 0);
      if (got <= 0) break;
      const std::string_view part(bytes, static_cast<std::size_t>(got));
      if (part.find("MAIL FROM") != std::string_view::npos &&
          part.find("DATA\r\n") != std::string_view::npos) {
        ++pipelined_;
      }
      session.input += part;
      while (!session.over && take_one(session)) {
      }
    }
    const std::lock_guard lock(mutex_);
    std::erase(open_, fd);
    ::close(fd);
  }

  // Handles one line, or the content; false when it has not come whole yet.
  bool take_one(Session& session) {
    const std::string_view ending = session.in_content ? "\r\n.\r\n" : "\r\n";
    // An empty message is its dot alone.
    const bool empty = session.in_content && session.input.starts_with(".\r\n");
    const std::size_t from = session.searched - std::min(session.searched, ending.size());
    const std::size_t at = empty ? 0 : session.input.find(ending, from);
    session.searched = at == std::string::npos ? session.input.size() : 0;
    if (at == std::string::npos) return false;
    const std::size_t size = empty ? 3 : at + ending.size();
    std::string taken = session.input.substr(0, size);
    session.input.erase(0, size);
    if (session.in_content) {
      session.in_content = false;
      take_content(session, std::move(taken));
    } else {
      take_line(session, taken.substr(0, at));
    }
    return true;
  }

  void take_content(Session& session, std::string content) {
    const std::uint64_t number = messages_++;
    if (manners_.stall.count() > 0 && number == manners_.stall_at) {
      const std::unique_lock all(stall_);
      std::this_thread::sleep_for(manners_.stall);
    }
    {
      const std::lock_guard lock(mutex_);
      contents_.push_back(std::move(content));
    }
    answer(session, ".", number, "250 2.0.0 Ok\r\n");
  }

  void take_line(Session& session, const std::string& line) {
    const std::uint64_t number = messages_.load();
    if (line.starts_with("EHLO")) {
      answer(session, line, number, manners_.ehlo);
      return;
    }
    if (line.starts_with("QUIT")) {
      answer(session, line, number, "221 2.0.0 Bye\r\n");
      session.over = true;
      return;
    }
    if (line.starts_with("RSET")) ++resets_;
    if (line.starts_with("RCPT")) {
      const std::lock_guard lock(mutex_);
      recipients_.push_back(line);
    }
    if (line != "DATA") {
      answer(session, line, number, "250 2.1.0 Ok\r\n");
      return;
    }
    session.in_content = answer(session, line, number, "354 Go ahead\r\n").starts_with("354");
  }

  std::string answer(Session& session, std::string_view line, std::uint64_t number,
                     const std::string& usual) {
    const std::shared_lock not_stalled(stall_);
    std::string reply = manners_.reply ? manners_.reply(line, number) : "";
    if (reply.empty()) reply = usual;
    if (reply == "close") {
      session.over = true;
    } else if (reply != "silence") {
      say(session, reply);
      session.over |= reply.starts_with("421");
    }
    return reply;
  }

  void say(Session& session, std::string_view text) {
    const std::size_t step = manners_.byte_by_byte ? 1 : text.size();
    for (std::size_t at = 0; at < text.size(); at += step) {
      const std::size_t size = std::min(step, text.size() - at);
      if (::send(session.fd, text.data() + at, size, MSG_NOSIGNAL) < 0) return;
      if (manners_.byte_pause.count() > 0) std::this_thread::sleep_for(manners_.byte_pause);
    }
  }

  const Manners manners_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> messages_{0};
  std::atomic<std::uint64_t> connections_{0};
  std::atomic<std::uint64_t> pipelined_{0};
  std::atomic<std::uint64_t> resets_{0};
  std::shared_mutex stall_;
  std::mutex mutex_;  // guards what follows
  std::vector<std::thread> threads_;
  std::vector<int> open_;
  std::vector<std::string> contents_;
  std::vector<std::string> recipients_;
  std::thread acceptor_;
};

}  // namespace mxring::test
