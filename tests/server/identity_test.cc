// Whom a connection speaks for: PROXY headers at every split, what is no header, and the time there
// is for one. No sockets: see shard_parts.h.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "server/conversation.h"
#include "tests/server/shard_parts.h"

namespace mxring::server {
namespace {

using Hold = Conversation::Hold;
using Phase = Conversation::Phase;
using test::Peer;
using test::ShardParts;

constexpr std::string_view kVersion1 = "PROXY TCP4 198.51.100.7 192.0.2.25 4000 25\r\n";
constexpr std::string_view kVersion2(
    "\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x11\xC6\x33\x64\x07\xC0\0\x02\x19\x0F\xA0\0\x19\x04\0\x02\0\0",
    33);
constexpr std::string_view kBanner = "220 mx.test ESMTP mxring\r\n";

Peer& balancer(ShardParts& shard) {
  return shard.arrive_as({.sends_header = true}, "203.0.113.1");
}

std::string client_of(ShardParts& shard, const Peer& peer) {
  return shard.of(peer).client().to_string();
}

TEST(Identity, NothingIsSaidBeforeTheHeader) {
  ShardParts shard;
  Peer& peer = balancer(shard);
  EXPECT_EQ(peer.heard, "");
  EXPECT_EQ(shard.of(peer).hold(), Hold::kHeader);
  EXPECT_EQ(client_of(shard, peer), "203.0.113.1");
  EXPECT_FALSE(shard.of(peer).place().network.has_value()) << "a balancer is not counted";
  EXPECT_EQ(shard.say(peer, kVersion1), kBanner);
  EXPECT_EQ(client_of(shard, peer), "198.51.100.7");
  EXPECT_EQ(shard.of(peer).place().network, base::IpAddress::parse("198.51.100.7"));
}

TEST(Identity, AHeaderCutAnywhere) {
  for (const std::string_view header : {kVersion1, kVersion2}) {
    for (std::size_t cut = 1; cut < header.size(); ++cut) {
      ShardParts shard;
      Peer& peer = balancer(shard);
      EXPECT_EQ(shard.say(peer, header.substr(0, cut)), "") << cut;
      EXPECT_EQ(shard.of(peer).hold(), Hold::kHeader);
      EXPECT_EQ(shard.say(peer, header.substr(cut)), kBanner) << cut;
      EXPECT_EQ(client_of(shard, peer), "198.51.100.7");
      EXPECT_TRUE(shard.say(peer, "EHLO c.example\r\n").starts_with("250-mx.test")) << cut;
    }
    ShardParts shard;
    Peer& dribbles = balancer(shard);
    for (const char c : header) shard.say(dribbles, std::string_view(&c, 1));
    EXPECT_EQ(client_of(shard, dribbles), "198.51.100.7");
    EXPECT_EQ(shard.of(dribbles).hold(), Hold::kNone);
  }
}

TEST(Identity, WhatIsCutOffTheHeaderIsTheClients) {
  for (std::size_t cut = 1; cut < kVersion2.size(); ++cut) {
    ShardParts shard;
    Peer& peer = balancer(shard);
    shard.say(peer, kVersion2.substr(0, cut));
    const std::string rest = std::string(kVersion2.substr(cut)) + "EHLO c.example\r\n";
    EXPECT_TRUE(shard.say(peer, rest).starts_with("554 5.5.0")) << "it spoke before the banner";
  }
}

TEST(Identity, AnythingElseIsRefused) {
  for (const std::string_view bytes :
       {"EHLO c.example\r\n", "PROXY TCP4 198.51.100.7 192.0.2.25 4000\r\n", "\r\n\r\nx",
        "PROXY TCP6 198.51.100.7 192.0.2.25 4000 25\r\n", "\x16\x03\x01"}) {
    for (const bool implicit_tls : {false, true}) {
      ShardParts shard;
      Peer& peer =
          shard.arrive_as({.implicit_tls = implicit_tls, .sends_header = true}, "203.0.113.1");
      const std::string heard = shard.say(peer, bytes);
      EXPECT_TRUE(heard.starts_with("421 4.3.0 No PROXY header where listen.proxy")) << heard;
      EXPECT_EQ(client_of(shard, peer), "203.0.113.1");
    }
  }
}

TEST(Identity, AHeaderHasItsTime) {
  ShardParts shard;
  Peer& silent = balancer(shard);
  Peer& slow = balancer(shard);
  shard.say(slow, kVersion2.substr(0, 20));
  shard.pass(shard.config.limits.proxy_header_ns - base::kNsPerSecond);
  EXPECT_EQ(silent.heard, "");
  shard.pass(2 * base::kNsPerSecond);
  for (const Peer* peer : {&silent, &slow}) {
    EXPECT_TRUE(peer->heard.contains("none came in time")) << peer->heard;
  }
}

TEST(Identity, AClientHasItsLimitThroughAnyBalancer) {
  ShardParts shard({.adjust = [](Config& config) { config.limits.connections_per_ip = 2; }});
  for (int i = 0; i < 2; ++i) EXPECT_EQ(shard.say(balancer(shard), kVersion1), kBanner);
  Peer& third = balancer(shard);
  EXPECT_TRUE(shard.say(third, kVersion2).starts_with("421 4.7.0 Too many connections"));
  EXPECT_EQ(shard.gate.all(), 3U);
}

}  // namespace
}  // namespace mxring::server
