// PROXY protocol headers, whole, cut at every byte, and broken.
#include "net/proxy_header.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/crc32c.h"

namespace mxring::net {
namespace {

using State = ProxyHeader::State;
using Problem = ProxyHeader::Problem;
using namespace std::string_literals;

const std::string kSignature = "\r\n\r\n\0\r\nQUIT\n"s;

std::string version_2(char command, char family, const std::string& rest) {
  return kSignature + command + family + static_cast<char>(rest.size() >> 8) +
         static_cast<char>(rest.size() & 0xFF) + rest;
}

const std::string kTcp4 = "\xc0\x00\x02\x01\xc6\x33\x64\x02\x30\x39\x00\x19"s;  // ports 12345, 25

// With each prefix too: what is not yet decided must come out as the whole does.
ProxyHeader parse(const std::string& bytes) {
  const ProxyHeader whole = parse_proxy_header(bytes);
  bool decided = false;
  for (std::size_t size = 0; size <= bytes.size(); ++size) {
    const ProxyHeader part = parse_proxy_header(std::string_view(bytes).substr(0, size));
    if (part.state == State::kMore) {
      EXPECT_FALSE(decided) << size;
      continue;
    }
    decided = true;
    EXPECT_EQ(part.state, whole.state) << size;
    EXPECT_EQ(part.bytes, whole.bytes) << size;
    if (part.state == State::kHeader) {
      EXPECT_LE(part.bytes, size);
    }
  }
  return whole;
}

TEST(ProxyHeaderTest, Version1) {
  const std::string line = "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\r\n";
  const ProxyHeader header = parse(line + "EHLO x\r\n");
  ASSERT_EQ(header.state, State::kHeader);
  EXPECT_EQ(header.bytes, line.size());
  EXPECT_EQ(header.version, 1);
  EXPECT_TRUE(header.has_client);
  EXPECT_EQ(header.client.to_string(), "192.0.2.1");
  EXPECT_EQ(header.client_port, 12345);
  EXPECT_EQ(header.destination.to_string(), "198.51.100.2");
  EXPECT_EQ(header.destination_port, 25);
  const ProxyHeader six = parse("PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n");
  ASSERT_EQ(six.state, State::kHeader);
  EXPECT_EQ(six.client.to_string(), "2001:db8::1");
  for (const char* unknown : {"PROXY UNKNOWN\r\n", "PROXY UNKNOWN ff::1 ff::2 1 2\r\n"}) {
    const ProxyHeader local = parse(unknown);
    EXPECT_EQ(local.state, State::kHeader) << unknown;
    EXPECT_FALSE(local.has_client);
  }
}

TEST(ProxyHeaderTest, Version1ThatIsNone) {
  for (const std::string& line :
       {"EHLO host\r\n"s, "\x16\x03\x01"s, "PROXX"s, "proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"s}) {
    EXPECT_EQ(parse(line).problem, Problem::kNoHeader) << line;
  }
  for (const std::string& line : {
           "PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n"s,
           "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25 \r\n"s,
           "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25 x\r\n"s,
           "PROXY  TCP4 192.0.2.1 198.51.100.2 12345 25\r\n"s,
           "PROXY TCP4 192.0.2.1 198.51.100.2 65536 25\r\n"s,
           "PROXY TCP4 192.0.2.1 198.51.100.2 -1 25\r\n"s,
           "PROXY TCP4 192.0.2.1 198.51.100.2 012 25\r\n"s,
           "PROXY TCP4 192.0.2.300 198.51.100.2 1 25\r\n"s,
           "PROXY TCP4 ::1 ::2 1 25\r\n"s,
           "PROXY TCP6 192.0.2.1 192.0.2.2 1 25\r\n"s,
           "PROXY TCP5 192.0.2.1 192.0.2.2 1 25\r\n"s,
           "PROXY\r\n"s,
           "PROXY \r\n"s,
           "PROXY UNKNOWNS\r\n"s,
           "PROXY TCP4 192.0.2.1 198.51.100.2 12345 25\nEHLO x\r\n"s,
           "PROXY TCP4 192.0.2.1\0 198.51.100.2 12345 25\r\n"s,
           "PROXY TCP4 192.0.2.1\r 198.51.100.2 12345 25\r\n"s,
       }) {
    EXPECT_EQ(parse(line).problem, Problem::kMalformed) << line;
  }
  EXPECT_EQ(parse("PROXY UNKNOWN " + std::string(93, 'x')).problem, Problem::kTooLong);
  EXPECT_EQ(parse("PROXY UNKNOWN " + std::string(91, 'x') + "\r\n").state, State::kHeader);
}

TEST(ProxyHeaderTest, Version2) {
  const std::string bytes = version_2('\x21', '\x11', kTcp4);
  const ProxyHeader header = parse(bytes + "EHLO x\r\n");
  ASSERT_EQ(header.state, State::kHeader);
  EXPECT_EQ(header.bytes, bytes.size());
  EXPECT_EQ(header.client.to_string(), "192.0.2.1");
  EXPECT_EQ(header.client_port, 12345);
  EXPECT_EQ(header.destination_port, 25);
  const std::string six = "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\1"s +
                          "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\2\x00\x01\x00\x02"s;
  const ProxyHeader header6 = parse(version_2('\x21', '\x21', six));
  ASSERT_EQ(header6.state, State::kHeader);
  EXPECT_EQ(header6.client.to_string(), "2001:db8::1");
  EXPECT_EQ(header6.destination_port, 2);
}

TEST(ProxyHeaderTest, Version2WithoutAClient) {
  for (const std::string& bytes :
       {version_2('\x20', '\0', ""), version_2('\x20', '\x11', kTcp4), version_2('\x21', '\0', ""),
        version_2('\x21', '\0', "whatever follows"),
        version_2('\x21', '\x31', std::string(216, '\0'))}) {
    const ProxyHeader header = parse(bytes);
    EXPECT_EQ(header.state, State::kHeader);
    EXPECT_FALSE(header.has_client);
    EXPECT_EQ(header.bytes, bytes.size());
  }
}

TEST(ProxyHeaderTest, Version2Vectors) {
  const std::string alpn = "\x01\x00\x02h2"s;
  const std::string ssl = "\x20\x00\x05\x01\x00\x00\x00\x00"s;
  const ProxyHeader header = parse(version_2('\x21', '\x11', kTcp4 + alpn + ssl));
  ASSERT_EQ(header.state, State::kHeader);
  EXPECT_TRUE(header.client_used_tls);

  std::string summed = version_2('\x21', '\x11', kTcp4 + "\x03\x00\x04\0\0\0\0"s + alpn);
  const std::uint32_t sum = base::crc32c(0, summed.data(), summed.size());
  const std::size_t at = 16 + kTcp4.size() + 3;
  for (unsigned i = 0; i < 4; ++i) summed[at + i] = static_cast<char>(sum >> (24 - 8 * i));
  EXPECT_EQ(parse(summed).state, State::kHeader);
  summed[at] = static_cast<char>(summed[at] ^ 1);
  EXPECT_EQ(parse(summed).problem, Problem::kChecksum);
}

TEST(ProxyHeaderTest, Version2ThatIsMalformed) {
  for (const std::string& bytes :
       {version_2('\x22', '\x11', kTcp4), version_2('\x11', '\x11', kTcp4),
        version_2('\x21', '\x11', kTcp4.substr(1)), version_2('\x21', '\x13', kTcp4),
        version_2('\x21', '\x41', kTcp4), version_2('\x21', '\x12', kTcp4),
        version_2('\x21', '\x11', kTcp4 + "\x01"),
        version_2('\x21', '\x11', kTcp4 + "\x01\x00\x05h2"s),
        version_2('\x21', '\x11', kTcp4 + "\x03\x00\x03\0\0\0"s),
        version_2('\x21', '\x11', kTcp4 + "\x20\x00\x01\x01"s)}) {
    EXPECT_EQ(parse(bytes).problem, Problem::kMalformed);
  }
  EXPECT_EQ(parse(kSignature + "\x21\x11\xff\xff"s).problem, Problem::kTooLong);
}

}  // namespace
}  // namespace mxring::net
