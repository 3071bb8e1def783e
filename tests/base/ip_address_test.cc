#include "base/ip_address.h"

#include <gtest/gtest.h>

#include <string>
#include <unordered_set>

namespace mxring::base {
namespace {

TEST(IpAddressTest, ReadsAndWritesBothFamilies) {
  for (const char* text : {"0.0.0.0", "127.0.0.1", "255.255.255.255", "192.0.2.1", "::", "::1",
                           "2001:db8::1", "fe80::1:2:3:4"}) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->to_string(), text);
    EXPECT_EQ(address->is_v4(), std::string(text).find(':') == std::string::npos);
  }
  EXPECT_EQ(IpAddress::parse("2001:DB8:0:0:0:0:0:1")->to_string(), "2001:db8::1");
}

TEST(IpAddressTest, RefusesNonsense) {
  for (const std::string text :
       {"", "1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4x", " 1.2.3.4", "1.2.3.4 ", "::g",
        "1::2::3", "[::1]", "localhost", "fe80::1%eth0", "1.2.3.4:25"}) {
    EXPECT_FALSE(IpAddress::parse(text).has_value()) << text;
  }
  EXPECT_FALSE(IpAddress::parse(std::string("1.2.3.4\0", 8)).has_value());
  EXPECT_FALSE(IpAddress::parse(std::string(1000, '1')).has_value());
}

TEST(IpAddressTest, MappedAddressesAreIpv4) {
  const auto mapped = IpAddress::parse("::ffff:192.0.2.7");
  ASSERT_TRUE(mapped.has_value());
  EXPECT_TRUE(mapped->is_v4());
  EXPECT_EQ(mapped->to_string(), "192.0.2.7");
  EXPECT_EQ(*mapped, *IpAddress::parse("192.0.2.7"));
  EXPECT_NE(*IpAddress::parse("::192.0.2.7"), *mapped);
}

TEST(IpAddressTest, KnowsLoopback) {
  for (const char* text : {"127.0.0.1", "127.255.1.2", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(IpAddress::parse(text)->is_loopback()) << text;
  }
  for (const char* text : {"128.0.0.1", "0.0.0.0", "::", "::2", "2001:db8::1"}) {
    EXPECT_FALSE(IpAddress::parse(text)->is_loopback()) << text;
  }
}

TEST(IpAddressTest, ClientNetworkIsAnAddressOrA64) {
  EXPECT_EQ(IpAddress::parse("192.0.2.7")->client_network().to_string(), "192.0.2.7");
  EXPECT_EQ(IpAddress::parse("2001:db8:1:2:3:4:5:6")->client_network().to_string(),
            "2001:db8:1:2::");
}

TEST(IpAddressTest, HashTellsNeighboursAndFamiliesApart) {
  const IpAddressHash hash;
  std::unordered_set<std::size_t> hashes;
  for (unsigned i = 0; i < 256; ++i) {
    hashes.insert(hash(IpAddress::v4({10, 0, 0, static_cast<std::uint8_t>(i)})));
    std::array<std::uint8_t, 16> six{0x20, 0x01};
    six[7] = static_cast<std::uint8_t>(i);
    hashes.insert(hash(IpAddress::v6(six)));
  }
  EXPECT_EQ(hashes.size(), 512U);
  EXPECT_EQ(hash(*IpAddress::parse("::ffff:1.2.3.4")), hash(*IpAddress::parse("1.2.3.4")));
}

TEST(EndpointTest, ReadsAndWrites) {
  for (const char* text : {"127.0.0.1:25", "[::1]:25", "0.0.0.0:0", "[2001:db8::1]:65535"}) {
    const auto endpoint = Endpoint::parse(text);
    ASSERT_TRUE(endpoint.has_value()) << text;
    EXPECT_EQ(endpoint->to_string(), text);
  }
}

TEST(EndpointTest, RefusesNonsense) {
  for (const char* text :
       {"", "127.0.0.1", "127.0.0.1:", ":25", "127.0.0.1:65536", "::1:25", "[::1]", "[::1:25",
        "::1]:25", "127.0.0.1:+25", "127.0.0.1:25 ", "127.0.0.1:-1", "localhost:25"}) {
    EXPECT_FALSE(Endpoint::parse(text).has_value()) << text;
  }
}

TEST(EndpointTest, AdviceCanBeCopied) {
  const auto expect = [](std::string_view text, std::string_view advice) {
    ASSERT_FALSE(Endpoint::parse(text).has_value()) << text;
    EXPECT_EQ(Endpoint::advice(text), advice) << text;
  };
  for (const char* every : {":2525", "*:2525"}) {
    expect(every,
           "not an address; write 0.0.0.0:2525 for every IPv4 address, [::]:2525 for every IPv6 "
           "address, or both");
  }
  for (const char* name : {"localhost:25", "mx.example.org:25"}) {
    expect(name,
           "not an address (names are not looked up here); write 127.0.0.1:25 or [::1]:25, or "
           "0.0.0.0:25 and [::]:25 for every address");
  }
  expect("25",
         "not an address; write 0.0.0.0:25 for every IPv4 address, [::]:25 for every IPv6 address, "
         "or both");
  expect("127.0.0.1", "no port in it; write 127.0.0.1:2525");
  expect("[::1]", "no port in it; write [::1]:2525");
  expect("::1", "no port in it; write [::1]:2525");
  expect("127.0.0.1:99999", "not an address: ports go from 0 to 65535");
  expect("1:2:3:4:5:6:7:8:25", "not an address; write [1:2:3:4:5:6:7:8]:25");
}

}  // namespace
}  // namespace mxring::base
