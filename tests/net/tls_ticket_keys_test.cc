#include "net/tls_ticket_keys.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

namespace mxring::net {
namespace {

constexpr std::int64_t kHour = 3600 * base::kNsPerSecond;

struct Ticket {
  std::vector<unsigned char> bytes = std::vector<unsigned char>(300, 'x');
  std::array<unsigned char, TlsTicketKeys::kNameBytes> name{};
  std::array<unsigned char, TlsTicketKeys::kNonceBytes> nonce{};
  std::array<unsigned char, TlsTicketKeys::kTagBytes> tag{};
};

Ticket sealed(TlsTicketKeys& keys, base::MonoTime now,
              std::string_view server_name = "mx.example") {
  Ticket ticket;
  EXPECT_TRUE(keys.encrypt(server_name, ticket.bytes, ticket.name, ticket.nonce, ticket.tag, now));
  EXPECT_NE(ticket.bytes, Ticket().bytes);
  return ticket;
}

bool opens(TlsTicketKeys& keys, Ticket ticket, base::MonoTime now,
           std::string_view server_name = "mx.example") {
  return keys.decrypt(server_name, ticket.bytes, ticket.name, ticket.nonce, ticket.tag, now) &&
         ticket.bytes == Ticket().bytes;
}

TEST(TlsTicketKeys, OpensWhatItSealed) {
  TlsTicketKeys keys(kHour);
  const Ticket ticket = sealed(keys, {5});
  EXPECT_TRUE(opens(keys, ticket, {5}));
  EXPECT_NE(sealed(keys, {5}).bytes, ticket.bytes);  // another nonce each time
}

TEST(TlsTicketKeys, ForOneServerName) {
  TlsTicketKeys keys(kHour);
  for (const std::string_view name : {"mx.example", "", "other.example"}) {
    const Ticket ticket = sealed(keys, {0}, name);
    for (const std::string_view asked_for : {"mx.example", "", "other.example", "mx.example2"}) {
      EXPECT_EQ(opens(keys, ticket, {1}, asked_for), asked_for == name) << name << " " << asked_for;
    }
  }
}

TEST(TlsTicketKeys, RotatesAndForgets) {
  TlsTicketKeys keys(kHour);
  const Ticket ticket = sealed(keys, {0});
  EXPECT_EQ(sealed(keys, {kHour - 1}).name, ticket.name);
  const Ticket next = sealed(keys, {kHour});
  EXPECT_NE(next.name, ticket.name);
  EXPECT_TRUE(opens(keys, ticket, {2 * kHour - 1}));
  EXPECT_FALSE(opens(keys, ticket, {2 * kHour}));
  EXPECT_TRUE(opens(keys, next, {2 * kHour}));
  EXPECT_FALSE(opens(keys, next, {100 * kHour}));  // after a long silence nothing is left
}

TEST(TlsTicketKeys, AnyChangedBitIsNoticed) {
  TlsTicketKeys keys(kHour);
  const Ticket good = sealed(keys, {0});
  const auto refused = [&](auto change) {
    Ticket ticket = good;
    change(ticket);
    EXPECT_FALSE(opens(keys, ticket, {0}));
  };
  for (std::size_t i = 0; i < good.bytes.size(); ++i) {
    refused([i](Ticket& ticket) { ticket.bytes[i] ^= 1; });
  }
  for (std::size_t i = 0; i < 16; ++i) {
    refused([i](Ticket& ticket) { ticket.name[i] ^= 0x80; });
    refused([i](Ticket& ticket) { ticket.tag[i] ^= 4; });
  }
  refused([](Ticket& ticket) { ticket.nonce[11] ^= 1; });
  TlsTicketKeys others(kHour);
  sealed(others, {0});
  EXPECT_FALSE(opens(others, good, {0}));
}

}  // namespace
}  // namespace mxring::net
