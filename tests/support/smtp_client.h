// A blocking SMTP client for tests: says exactly the bytes it is told and reads whole replies.
// Every wait is bounded; a failure to connect, send or read shows as an empty reply.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::test {

class SmtpClient {
 public:
  explicit SmtpClient(std::uint16_t port, int timeout_s = 20) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval timeout{timeout_s, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  SmtpClient(const SmtpClient&) = delete;
  SmtpClient& operator=(const SmtpClient&) = delete;
  ~SmtpClient() { close(); }

  bool connected() const { return connected_; }
  int fd() const { return fd_; }

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  // Goes without a word: what was sent is received, and then the connection is gone.
  void reset() {
    const linger at_once{1, 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
  }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // One reply, all its lines, CRLFs included; empty when the peer closed or the time is up.
  std::string reply() {
    std::size_t line = 0;
    for (;;) {
      const std::size_t end = buffered_.find("\r\n", line);
      if (end == std::string::npos) {
        char more[4096];
        const ssize_t got = ::recv(fd_, more, sizeof more, 0);
        if (got <= 0) return {};
        buffered_.append(more, static_cast<std::size_t>(got));
        continue;
      }
      const bool last = end - line < 4 || buffered_[line + 3] != '-';
      line = end + 2;
      if (last) {
        std::string reply = buffered_.substr(0, line);
        buffered_.erase(0, line);
        return reply;
      }
    }
  }

  std::string ask(std::string_view command) {
    if (!send(std::string(command) + "\r\n")) return {};
    return reply();
  }

  // One whole transaction; the reply to the end of data, or the first refusal before it. `content`
  // ends in CRLF and is dot-stuffed already.
  std::string deliver(std::string_view from, std::string_view to, std::string_view content) {
    std::string answer = ask("MAIL FROM:<" + std::string(from) + ">");
    if (!answer.starts_with("250")) return answer;
    answer = ask("RCPT TO:<" + std::string(to) + ">");
    if (!answer.starts_with("250")) return answer;
    answer = ask("DATA");
    if (!answer.starts_with("354")) return answer;
    if (!send(std::string(content) + ".\r\n")) return {};
    return reply();
  }

 private:
  int fd_ = -1;
  bool connected_ = false;
  std::string buffered_;
};

}  // namespace mxring::test
