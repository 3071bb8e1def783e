#include "server/client_rates.h"

#include <gtest/gtest.h>

#include <string>

namespace mxring::server {
namespace {

constexpr std::int64_t kSecond = base::kNsPerSecond;

base::IpAddress address(const std::string& text) {
  return *base::IpAddress::parse(text);
}

TEST(ClientRatesTest, NothingIsCountedWithoutALimit) {
  ClientRates rates;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_TRUE(rates.take(RateKind::kMessages, address("192.0.2.1"), 0, {0}));
  }
  EXPECT_EQ(rates.clients(), 0U);
}

TEST(ClientRatesTest, EachKindAndClientOnItsOwn) {
  ClientRates rates;
  const base::IpAddress client = address("192.0.2.1");
  for (const auto& [kind, limit] :
       {std::pair{RateKind::kConnections, 1U}, std::pair{RateKind::kMessages, 2U},
        std::pair{RateKind::kRecipients, 3U}}) {
    for (std::uint32_t i = 0; i < limit; ++i) EXPECT_TRUE(rates.take(kind, client, limit, {0}));
    EXPECT_FALSE(rates.take(kind, client, limit, {0}));
    EXPECT_FALSE(rates.take(kind, client, limit, {29 * kSecond}));
    EXPECT_TRUE(rates.take(kind, address("192.0.2.2"), limit, {0}));
  }
}

TEST(ClientRatesTest, AnIpv6ClientIsItsNetwork) {
  ClientRates rates;
  constexpr std::uint32_t kLimit = 1;
  EXPECT_TRUE(rates.take(RateKind::kMessages, address("2001:db8:0:1::1"), kLimit, {0}));
  EXPECT_FALSE(rates.take(RateKind::kMessages, address("2001:db8:0:1:ffff::2"), kLimit, {0}));
  EXPECT_TRUE(rates.take(RateKind::kMessages, address("2001:db8:0:2::1"), kLimit, {0}));
}

TEST(ClientRatesTest, ABurstIsForgottenAfterAMinuteAtMost) {
  ClientRates rates;
  constexpr std::uint32_t kLimit = 10;
  const base::IpAddress client = address("192.0.2.1");
  for (int i = 0; i < 10; ++i)
    EXPECT_TRUE(rates.take(RateKind::kMessages, client, kLimit, {25 * kSecond}));
  EXPECT_FALSE(rates.take(RateKind::kMessages, client, kLimit, {35 * kSecond}));
  EXPECT_FALSE(rates.take(RateKind::kMessages, client, kLimit, {59 * kSecond}));
  EXPECT_TRUE(rates.take(RateKind::kMessages, client, kLimit, {60 * kSecond}));
}

TEST(ClientRatesTest, NoSixtySecondsLetMoreThanTwiceTheLimitPass) {
  ClientRates rates;
  constexpr std::uint32_t kLimit = 100;
  const base::IpAddress client = address("192.0.2.1");
  std::array<int, 600> taken{};
  for (std::size_t second = 0; second < taken.size(); ++second) {
    for (int i = 0; i < 50; ++i) {
      const base::MonoTime now{static_cast<std::int64_t>(second) * kSecond + i};
      taken[second] += rates.take(RateKind::kMessages, client, kLimit, now) ? 1 : 0;
    }
  }
  int all = 0;
  for (std::size_t second = 0; second < taken.size(); ++second) {
    all += taken[second];
    int within = 0;
    for (std::size_t i = second; i < std::min(second + 60, taken.size()); ++i) within += taken[i];
    EXPECT_LE(within, 200) << second;
  }
  EXPECT_GE(all, 1000 - 100);
  EXPECT_LE(all, 1100);
}

TEST(ClientRatesTest, TheTableIsBounded) {
  ClientRates rates;
  constexpr std::uint32_t kLimit = 1;
  for (std::uint32_t i = 0; i < 3 * ClientRates::kClientsMax; ++i) {
    const auto byte = [i](unsigned shift) { return static_cast<std::uint8_t>(i >> shift); };
    EXPECT_TRUE(rates.take(RateKind::kMessages,
                           base::IpAddress::v4({10, byte(16), byte(8), byte(0)}), kLimit, {0}));
  }
  EXPECT_LE(rates.clients(), ClientRates::kClientsMax);
  EXPECT_GE(rates.clients(), ClientRates::kClientsMax / 2);
}

}  // namespace
}  // namespace mxring::server
