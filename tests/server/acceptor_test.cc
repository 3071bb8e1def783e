// The door: who comes in, who is sent away, and what happens when nobody can be let in.
#include "server/acceptor.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <string>

#include "server/connection_gate.h"
#include "tests/server/shard_parts.h"
#include "tests/support/broken_invariant.h"

namespace mxring::server {
namespace {

class AcceptorTest : public testing::Test {
 protected:
  AcceptorTest() {
    ShardListeners listeners;
    for (int i = 0; i < 2; ++i) {
      listeners.all.push_back(*net::Listener::open(*base::Endpoint::parse("127.0.0.1:0")));
    }
    listeners.implicit_tls_from = 1;
    acceptor_.emplace(*parts_.context, *parts_.ring, gate_, std::move(listeners));
  }

  uring::Completion completion(int result, std::uint32_t listener = 0, std::uint32_t number = 0) {
    return {.tag = {uring::Operation::kAccept, number, listener}, .result = result};
  }
  // One end of a pair of sockets; what is said to it can be read from the other.
  int newcomer() {
    int fds[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    other_ = fds[1];
    return fds[0];
  }
  std::string heard() {
    char text[600];
    const ssize_t got = ::recv(other_, text, sizeof text, 0);
    ::close(other_);
    return {text, got > 0 ? static_cast<std::size_t>(got) : 0};
  }

  test::ShardParts parts_;
  ConnectionGate gate_{parts_.config.limits};
  std::optional<Acceptor> acceptor_;
  int other_ = -1;
};

TEST_F(AcceptorTest, EveryListenerIsArmedForABoundedCrowd) {
  EXPECT_TRUE(acceptor_->arm());
  EXPECT_EQ(parts_.engine->requests.size(), 2U * Acceptor::kAcceptsPerTurn);
  EXPECT_TRUE(acceptor_->arm());
  EXPECT_EQ(parts_.engine->requests.size(), 2U * Acceptor::kAcceptsPerTurn)
      << "nothing is armed twice";
  acceptor_->invariants();
}

TEST_F(AcceptorTest, AFailedAcceptIsNotTriedAgainAtOnce) {
  acceptor_->arm();
  parts_.engine->requests.clear();
  Acceptor::Newcomer newcomer;
  for (std::uint32_t i = 0; i < Acceptor::kAcceptsPerTurn; ++i) {
    EXPECT_FALSE(acceptor_->on_accept(completion(-EMFILE, 0, i), &newcomer));
  }
  for (int turn = 0; turn < 1000; ++turn) EXPECT_FALSE(acceptor_->arm());
  EXPECT_TRUE(parts_.engine->requests.empty());
  parts_.context->now.mono.ns += Acceptor::kRetryNs;
  EXPECT_TRUE(acceptor_->arm());
  EXPECT_EQ(parts_.engine->requests.size(), std::size_t{Acceptor::kAcceptsPerTurn});
}

TEST_F(AcceptorTest, WhileDrainingNewcomersHear421) {
  acceptor_->arm();
  parts_.context->draining = true;
  Acceptor::Newcomer in;
  EXPECT_FALSE(acceptor_->on_accept(completion(newcomer()), &in));
  EXPECT_EQ(heard(), "421 4.3.2 Shutting down, try again later\r\n");
  EXPECT_EQ(gate_.all(), 0U);
}

// Their sockets outlive this process, which must neither take nor lose anybody more.
TEST_F(AcceptorTest, DrainingLetsGoOfEveryAcceptOnSocketsHandedOver) {
  ShardListeners listeners;
  listeners.all.push_back(*net::Listener::open(*base::Endpoint::parse("127.0.0.1:0")));
  listeners.implicit_tls_from = 1;
  listeners.handed_over = true;
  Acceptor acceptor(*parts_.context, *parts_.ring, gate_, std::move(listeners));
  acceptor.arm();
  parts_.engine->requests.clear();
  parts_.context->draining = true;
  acceptor.drain();
  std::set<std::uint64_t> cancelled;
  for (const auto& request : parts_.engine->requests) cancelled.insert(request.target.pack());
  EXPECT_EQ(cancelled.size(), std::size_t{Acceptor::kAcceptsPerTurn}) << "each by its own tag";
  EXPECT_FALSE(acceptor.quiet());
  Acceptor::Newcomer in;
  ASSERT_TRUE(acceptor.on_accept(completion(newcomer(), 0, 3), &in))
      << "came while it was on its way";
  acceptor.leave(in.place);
  ::close(in.fd);
  ::close(other_);
  for (std::uint32_t i = 0; i < Acceptor::kAcceptsPerTurn; ++i) {
    if (i == 3) continue;
    EXPECT_FALSE(acceptor.quiet());
    EXPECT_FALSE(acceptor.on_accept(completion(-ECANCELED, 0, i), &in));
  }
  EXPECT_TRUE(acceptor.quiet());
  EXPECT_TRUE(acceptor.arm());
  EXPECT_TRUE(acceptor.quiet()) << "nothing is armed again";
}

TEST_F(AcceptorTest, UnderTlsNothingIsSaidInTheClear) {
  acceptor_->arm();
  parts_.context->draining = true;
  Acceptor::Newcomer in;
  EXPECT_FALSE(acceptor_->on_accept(completion(newcomer(), 1), &in));
  EXPECT_EQ(heard(), "");
}

TEST_F(AcceptorTest, WhoComesInIsCountedUntilItLeaves) {
  acceptor_->arm();
  Acceptor::Newcomer in;
  ASSERT_TRUE(acceptor_->on_accept(completion(newcomer(), 1), &in));
  EXPECT_TRUE(in.implicit_tls);
  EXPECT_EQ(gate_.all(), 1U);
  acceptor_->leave(in.place);
  EXPECT_EQ(gate_.all(), 0U);
  ::close(in.fd);
  ::close(other_);
}

using AcceptorDeathTest = AcceptorTest;

MXRING_REVEAL(ArmedOf, &Acceptor::armed_);

TEST_F(AcceptorDeathTest, EachInvariantFires) {
  Acceptor& acceptor = *acceptor_;
  mxring::test::expect_fires("armed_.size() == listeners_.size()", [&] {
    (acceptor.*member_of(ArmedOf{})).push_back(0);
    acceptor.invariants();
  });
  mxring::test::expect_fires("armed >> kAcceptsPerTurn == 0", [&] {
    (acceptor.*member_of(ArmedOf{})).front() = 1U << 31;
    acceptor.invariants();
  });
}

TEST_F(AcceptorDeathTest, NobodyComesInUnasked) {
  Acceptor::Newcomer in;
  EXPECT_DEATH(acceptor_->on_accept(completion(-EMFILE), &in), "armed_");
}

TEST(ConnectionGateTest, The51stOfAnAddressOrIpv6NetworkStaysOutside) {
  base::Limits limits;
  ConnectionGate gate(limits);
  const auto address = [](std::string_view text) { return *base::IpAddress::parse(text); };
  for (std::uint32_t i = 0; i < limits.connections_per_ip; ++i) {
    EXPECT_TRUE(gate.enter(address("192.0.2.1")));
    EXPECT_TRUE(gate.enter(address("2001:db8::" + std::to_string(i + 1))));
    EXPECT_TRUE(gate.enter(address("::ffff:192.0.2.9")));
  }
  EXPECT_FALSE(gate.enter(address("192.0.2.1")));
  EXPECT_FALSE(gate.enter(address("2001:db8::ffff:1")));
  EXPECT_FALSE(gate.enter(address("192.0.2.9"))) << "the same client through IPv6's clothes";
  EXPECT_TRUE(gate.enter(address("192.0.2.2")));
  EXPECT_TRUE(gate.enter(address("2001:db8:0:1::1")));
  for (int i = 0; i < 200; ++i) EXPECT_TRUE(gate.enter(address("127.0.0.1")));
  gate.leave({.network = address("192.0.2.1")});
  EXPECT_TRUE(gate.enter(address("192.0.2.1")));
  EXPECT_FALSE(gate.enter(address("192.0.2.1")));
}

}  // namespace
}  // namespace mxring::server
