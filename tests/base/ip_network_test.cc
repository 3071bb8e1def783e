#include "base/ip_network.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace mxring::base {
namespace {

IpAddress address(const char* text) {
  return IpAddress::parse(text).value();
}

TEST(IpNetworkTest, ReadsAndWritesBothFamilies) {
  for (const char* text : {"0.0.0.0/0", "10.0.0.0/8", "192.0.2.128/25", "192.0.2.7", "::/0",
                           "2001:db8::/32", "2001:db8::/33", "2001:db8::7"}) {
    const auto network = IpNetwork::parse(text);
    ASSERT_TRUE(network.has_value()) << text << ": " << network.error();
    EXPECT_EQ(network->to_string(), text);
    EXPECT_EQ(IpNetwork::parse(network->to_string()), network);
  }
  EXPECT_EQ(IpNetwork::parse("192.0.2.7/32")->to_string(), "192.0.2.7");
}

TEST(IpNetworkTest, SaysWhatIsWrong) {
  const auto problem = [](const char* text) {
    const auto network = IpNetwork::parse(text);
    return network ? "none with " + network->to_string() : network.error();
  };
  EXPECT_EQ(problem("192.0.2.1/24"), "\"192.0.2.1/24\" has bits set after its prefix");
  EXPECT_EQ(problem("2001:db8::1/64"), "\"2001:db8::1/64\" has bits set after its prefix");
  EXPECT_EQ(problem("192.0.2.0/33"), "\"33\" is no length of an IPv4 prefix, 0 to 32");
  EXPECT_EQ(problem("2001:db8::/129"), "\"129\" is no length of an IPv6 prefix, 0 to 128");
  for (const char* text : {"", "/", "/8", "10.0.0.0/", "10.0.0.0/x", "10.0.0.0/8 ", "10.0.0/8",
                           "10.0.0.0/-1", "host.example"}) {
    EXPECT_FALSE(IpNetwork::parse(text).has_value()) << text;
  }
}

TEST(IpNetworkTest, ContainsWhatSharesItsPrefix) {
  const auto in = [](const char* network, const char* text) {
    return IpNetwork::parse(network)->contains(address(text));
  };
  EXPECT_TRUE(in("192.0.2.128/25", "192.0.2.128"));
  EXPECT_TRUE(in("192.0.2.128/25", "192.0.2.255"));
  EXPECT_FALSE(in("192.0.2.128/25", "192.0.2.127"));
  EXPECT_FALSE(in("192.0.2.128/25", "192.0.3.128"));
  EXPECT_TRUE(in("192.0.2.7", "192.0.2.7"));
  EXPECT_FALSE(in("192.0.2.7", "192.0.2.6"));
  EXPECT_TRUE(in("0.0.0.0/0", "255.255.255.255"));
  EXPECT_TRUE(in("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(in("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_FALSE(in("::/0", "192.0.2.1")) << "the families have nothing in common";
  EXPECT_FALSE(in("0.0.0.0/0", "2001:db8::1"));
  EXPECT_TRUE(in("192.0.2.0/24", "::ffff:192.0.2.9")) << "the same client in IPv6's clothes";
}

TEST(IpNetworkTest, TheFirstThatContainsItIsFound) {
  const std::array networks{*IpNetwork::parse("10.0.0.0/8"), *IpNetwork::parse("10.1.0.0/16")};
  EXPECT_EQ(find_network(networks, address("10.1.2.3")), networks.data());
  EXPECT_EQ(find_network(networks, address("192.0.2.1")), nullptr);
  EXPECT_EQ(find_network({}, address("192.0.2.1")), nullptr);
}

}  // namespace
}  // namespace mxring::base
