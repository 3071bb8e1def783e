#include "net/client_hello.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "tests/net/tls_pair.h"

namespace mxring::net {
namespace {

std::string number(std::size_t value, std::size_t size) {
  std::string out;
  for (std::size_t i = size; i-- > 0;) out += static_cast<char>(value >> (8 * i) & 0xFF);
  return out;
}

std::string vector(std::size_t size, std::string_view data) {
  return number(data.size(), size) + std::string(data);
}

std::string extension(std::size_t type, std::string_view data) {
  return number(type, 2) + vector(2, data);
}

std::string name_extension(std::string_view name) {
  return extension(0, vector(2, number(0, 1) + vector(2, name)));
}

// A handshake message, from its extensions.
std::string message(std::string_view extensions, std::size_t version = 0x0303,
                    std::string_view suites = "\xC0\x2B") {
  const std::string body = number(version, 2) + std::string(32, 'r') + vector(1, "") +
                           vector(2, suites) + vector(1, std::string(1, '\0')) +
                           (extensions.empty() ? std::string() : vector(2, extensions));
  return number(1, 1) + vector(3, body);
}

std::string records(std::string_view bytes, std::size_t each = 16 * 1024) {
  std::string out;
  for (; !bytes.empty(); bytes.remove_prefix(std::min(each, bytes.size()))) {
    out += "\x16\x03\x01" + vector(2, bytes.substr(0, each));
  }
  return out;
}

HelloOutcome outcome(std::string_view bytes) {
  ClientHello hello;
  return read_client_hello(bytes, hello);
}

ClientHello hello_of(std::string_view extensions, std::size_t version = 0x0303,
                     std::string_view suites = "\xC0\x2B") {
  ClientHello hello;
  EXPECT_EQ(read_client_hello(records(message(extensions, version, suites)), hello),
            HelloOutcome::kHello);
  return hello;
}

const std::string kEcdsa = extension(13, vector(2, "\x04\x03\x08\x04"));
const std::string kTls13 = extension(43, vector(1, "\x03\x04\x03\x03"));

std::string real_hello(std::string_view name) {
  MemoryTransport transport;
  auto client = client_for(name)->connect(transport);
  client->handshake();
  return transport.outward;
}

TEST(ClientHello, OfARealClient) {
  ClientHello hello;
  ASSERT_EQ(read_client_hello(real_hello("MX.Example.Org"), hello), HelloOutcome::kHello);
  EXPECT_EQ(hello.server_name, "mx.example.org");
  EXPECT_TRUE(hello.takes_tls13);
  EXPECT_TRUE(hello.takes_p256);
}

TEST(ClientHello, HasAFingerprint) {
  // The parts of ja4_test.cc's example, where they stand in a hello.
  const auto numbers = [](std::initializer_list<std::size_t> values) {
    std::string out;
    for (const std::size_t value : values) out += number(value, 2);
    return out;
  };
  const std::string suites =
      numbers({0x0A0A, 0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8,
               0xC013, 0xC014, 0x009C, 0x009D, 0x002F, 0x0035});
  std::string extensions = name_extension("mx.test") +
                           extension(16, vector(2, vector(1, "h2") + vector(1, "http/1.1"))) +
                           extension(13, vector(2, numbers({0x0403, 0x0804, 0x0401, 0x0503, 0x0805,
                                                            0x0501, 0x0806, 0x0601}))) +
                           extension(43, vector(1, numbers({0x2A2A, 0x0304, 0x0303})));
  for (const std::size_t type :
       {0x1A1A, 0x0005, 0x000B, 0x0012, 0x0015, 0x0017, 0x001B, 0x0023, 0x002D, 0x4469, 0xFF01}) {
    extensions += extension(type, "");
  }
  extensions += extension(10, vector(2, numbers({29, 23}))) + extension(51, vector(2, ""));
  const ClientHello hello = hello_of(extensions, 0x0303, suites);
  EXPECT_EQ(hello.fingerprint.view(), "t13d1516h2_8daaf6152771_e5627efa2ab1");
  EXPECT_EQ(hello_of("", 0x0301, std::string("\x00\x2F", 2)).fingerprint.view().substr(0, 11),
            "t10i010000_");
}

TEST(ClientHello, EveryPrefixWantsMore) {
  for (const std::size_t each : {std::size_t{1}, std::size_t{7}, std::size_t{16'000}}) {
    const std::string whole = records(message(name_extension("a.example") + kEcdsa), each);
    for (std::size_t size = 0; size < whole.size(); ++size) {
      ASSERT_EQ(outcome(std::string_view(whole).substr(0, size)), HelloOutcome::kMore) << size;
    }
    ClientHello hello;
    ASSERT_EQ(read_client_hello(whole + "more", hello), HelloOutcome::kHello);
    EXPECT_EQ(hello.server_name, "a.example");
    EXPECT_TRUE(hello.takes_p256);
  }
}

TEST(ClientHello, ManyRecordsBecomeOne) {
  const std::string hello_message = message(name_extension("a.example") + kEcdsa);
  const std::string one = records(hello_message);
  for (const std::size_t each : {1U, 2U, 3U, 50U}) {
    ClientHello hello;
    HelloRecords shape;
    const std::string many = records(hello_message, each);
    ASSERT_EQ(read_client_hello(many + "behind", hello, &shape), HelloOutcome::kHello);
    EXPECT_EQ(shape.wire_bytes, many.size());
    EXPECT_EQ(shape.rewritten, one);
  }
  ClientHello hello;
  HelloRecords shape;
  ASSERT_EQ(read_client_hello(one, hello, &shape), HelloOutcome::kHello);
  EXPECT_EQ(shape.rewritten, "");
  // Something else in its last record (CVE-2023-6937).
  EXPECT_EQ(outcome(records(hello_message + "x", 60)), HelloOutcome::kMalformed);
  EXPECT_EQ(outcome(records(hello_message + hello_message)), HelloOutcome::kMalformed);
}

TEST(ClientHello, NamesThatAreNone) {
  using namespace std::string_view_literals;
  for (const std::string_view name :
       {"back\\slash"sv, "nul\0.example"sv, "two words"sv, "quote\""sv, "\xFF"sv, ""sv, "."sv,
        "tab\t"sv, "(comment)"sv, "slash/"sv}) {
    const ClientHello hello = hello_of(name_extension(name));
    EXPECT_EQ(hello.server_name, "") << name;
    EXPECT_TRUE(hello.server_name_refused) << name;
  }
  EXPECT_EQ(hello_of(name_extension(std::string(255, 'x'))).server_name, std::string(255, 'x'));
  EXPECT_EQ(hello_of(name_extension(std::string(300, 'x'))).server_name, "");
  EXPECT_EQ(hello_of(name_extension("_dane.A-b.example.")).server_name, "_dane.a-b.example");
  EXPECT_FALSE(hello_of("").server_name_refused);
}

// CVE-2025-11936 and its neighbours.
TEST(ClientHello, KeySharesAndExtensionsComeOnce) {
  const auto of = [](const std::string& extensions) {
    return outcome(records(message(extensions)));
  };
  const auto share = [](std::uint16_t group) {
    return number(group, 2) + vector(2, std::string(32, 'k'));
  };
  const auto shares = [](const std::string& all) { return extension(51, vector(2, all)); };
  EXPECT_EQ(of(shares(share(29) + share(23) + share(24))), HelloOutcome::kHello);
  EXPECT_EQ(of(shares("")), HelloOutcome::kHello);  // asks for a HelloRetryRequest
  EXPECT_EQ(of(shares(share(29) + share(23) + share(29))), HelloOutcome::kMalformed);
  std::string many;
  for (std::uint16_t i = 0; i < 500; ++i) many += share(static_cast<std::uint16_t>(1'000 + i));
  EXPECT_EQ(of(shares(many)), HelloOutcome::kMalformed);
  EXPECT_EQ(of(shares(share(29).substr(0, 10))), HelloOutcome::kMalformed);
  EXPECT_EQ(of(kEcdsa + kTls13 + kEcdsa), HelloOutcome::kMalformed);
  std::string extensions;
  for (std::uint16_t i = 0; i < 65; ++i)
    extensions += extension(static_cast<std::uint16_t>(2'000 + i), "");
  EXPECT_EQ(of(extensions), HelloOutcome::kMalformed);
}

TEST(ClientHello, WhoUnderstandsEcdsa) {
  EXPECT_FALSE(hello_of("").takes_p256);  // no signature algorithms named: SHA-1 only
  EXPECT_TRUE(hello_of(kEcdsa).takes_p256);
  EXPECT_FALSE(hello_of(kEcdsa, 0x0303, "\xC0\x2F").takes_p256);  // RSA suites only
  EXPECT_FALSE(hello_of(kEcdsa, 0x0302).takes_p256);              // TLS 1.1
  EXPECT_TRUE(hello_of(kEcdsa + kTls13, 0x0303, "\x13\x01").takes_p256);
  EXPECT_FALSE(hello_of(kTls13, 0x0303, "\x13\x01").takes_p256);
  const std::string no_p256 = extension(10, vector(2, number(29, 2)));
  EXPECT_FALSE(hello_of(kEcdsa + no_p256).takes_p256);
  EXPECT_TRUE(hello_of(kEcdsa + no_p256 + kTls13, 0x0303, "\x13\x01").takes_p256);
}

TEST(ClientHello, WhoSharesACurve) {
  EXPECT_TRUE(hello_of("").shares_group);  // nothing said: P-256 will do
  const auto shares = [](std::string_view groups) {
    return hello_of(extension(10, vector(2, groups))).shares_group;
  };
  EXPECT_TRUE(shares(number(29, 2)));
  EXPECT_TRUE(shares(number(30, 2) + number(24, 2)));
  EXPECT_FALSE(shares(number(30, 2) + number(25, 2)));  // X448, P-521
  EXPECT_FALSE(shares(""));
}

TEST(ClientHello, OtherProtocols) {
  EXPECT_EQ(outcome("EHLO client.example\r\n"), HelloOutcome::kNotTls);
  EXPECT_EQ(outcome("GET / HTTP/1.1\r\n"), HelloOutcome::kNotTls);
  EXPECT_EQ(outcome("\x16\x02"), HelloOutcome::kNotTls);
  EXPECT_EQ(outcome(std::string_view("\x80\x2E\x01\x03\x01", 5)), HelloOutcome::kNotTls);  // SSLv2
  EXPECT_EQ(outcome("\x17\x03\x03"), HelloOutcome::kNotTls);
}

TEST(ClientHello, Malformed) {
  EXPECT_EQ(outcome(records(std::string(100, '\x02'))), HelloOutcome::kMalformed);
  EXPECT_EQ(outcome(std::string_view("\x16\x03\x01\0\0", 5)), HelloOutcome::kMalformed);
  EXPECT_EQ(outcome("\x16\x03\x01\x40\x01"), HelloOutcome::kMalformed);  // a record over 16 KiB
  EXPECT_EQ(outcome(records(std::string("\x01\x00\xFF\xFF", 4))), HelloOutcome::kMalformed);
  EXPECT_EQ(outcome(records(message("", 0x0200))), HelloOutcome::kMalformed);
  // Lengths that lead out of the message, one after the other.
  const std::string whole = message(name_extension("a.example") + kEcdsa);
  for (std::size_t cut = 1; cut < whole.size() - 4; ++cut) {
    std::string shorter = whole.substr(0, whole.size() - cut);
    shorter.replace(1, 3, number(shorter.size() - 4, 3));
    // The only shorter one that makes sense is that without extensions.
    const HelloOutcome expected = outcome(records(shorter));
    EXPECT_TRUE(expected == HelloOutcome::kMalformed || expected == HelloOutcome::kHello) << cut;
  }
  // More one-byte records than a hello can need.
  EXPECT_EQ(outcome(records(message(extension(99, std::string(10'000, 'x'))), 1)),
            HelloOutcome::kMalformed);
}

}  // namespace
}  // namespace mxring::net
