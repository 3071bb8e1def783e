// A ring and what is needed to talk to it, for the tests of this folder. Where the host has no
// usable io_uring the tests are skipped and say why.
#pragma once

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "uring/ring.h"

namespace mxring::uring {

// Two connected stream sockets, closed at the end.
struct SocketPair {
  std::array<int, 2> fds{-1, -1};
  SocketPair() { EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds.data()), 0); }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;
  ~SocketPair() {
    close_end(0);
    close_end(1);
  }
  void close_end(std::size_t end) {
    if (fds[end] >= 0) ::close(fds[end]);
    fds[end] = -1;
  }
  int operator[](std::size_t end) const { return fds[end]; }
};

// A listening TCP socket on a free loopback port.
struct Listener {
  int fd = -1;
  sockaddr_in address{};
  Listener() {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(fd, generic, size), 0);
    EXPECT_EQ(::listen(fd, 64), 0);
    EXPECT_EQ(::getsockname(fd, generic, &size), 0);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { ::close(fd); }
  int connect_client() const {
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return client;
  }
};

class RingTest : public testing::Test {
 protected:
  static constexpr std::int64_t kWaitNs = 2'000'000'000;  // far more than anything here takes

  void SetUp() override {
    start(Ring::Options{}, nullptr);
    const char* wanted = std::getenv("MXRING_SHARDS__ENGINE");
    if (wanted == nullptr && !on_io_uring()) GTEST_SKIP() << ring_->fallback_reason();
  }

  void start(const Ring::Options& options, FaultPlan* faults) {
    ring_.reset();
    auto made = Ring::create(options, faults);
    ASSERT_TRUE(made.has_value()) << made.error().message;
    ring_.emplace(std::move(*made));
  }

  bool on_io_uring() const { return ring_->engine_name() == "io_uring"; }

  // Completions as they come, until there are `count`, or a wait ends with nothing.
  std::vector<Completion> wait_for(std::size_t count) {
    std::vector<Completion> seen;
    while (seen.size() < count) {
      const auto batch = ring_->submit_and_wait(kWaitNs);
      if (batch.empty()) break;
      seen.insert(seen.end(), batch.begin(), batch.end());
    }
    return seen;
  }

  // The completion of one operation among `seen`.
  static const Completion* find(const std::vector<Completion>& seen, Tag tag) {
    for (const Completion& completion : seen) {
      if (completion.tag == tag) return &completion;
    }
    return nullptr;
  }

  std::optional<Ring> ring_;
};

}  // namespace mxring::uring
