// Client and server through memory: handshakes, certificates, tickets, what is refused.
#include "net/tls_stream.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/net/tls_pair.h"

namespace mxring::net {
namespace {

constexpr std::int64_t kHour = 3600 * base::kNsPerSecond;

TEST(TlsStream, CarriesBothWays) {
  const auto server = server_with({certificate_for("mx.example")});
  const auto client = client_for("mx.example");
  TlsPair pair(*client, *server);
  ASSERT_TRUE(pair.open);
  EXPECT_EQ(pair.server->facts().version, "TLSv1.3");
  EXPECT_TRUE(pair.server->facts().cipher.starts_with("TLS_")) << pair.server->facts().cipher;
  EXPECT_FALSE(pair.server->facts().resumed);
  for (const std::size_t size : {1U, 100U, 4000U, 16'384U, 16'385U, 100'000U}) {
    std::string text(size, 'x');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7);
    ASSERT_EQ(TlsPair::carry(*pair.client, *pair.server, pair, text), text);
    ASSERT_EQ(TlsPair::carry(*pair.server, *pair.client, pair, text), text);
  }
}

TEST(TlsStream, SameWithoutTheFastCipher) {
  if (!has_fast_gcm()) GTEST_SKIP() << "built without libipsec-mb";
  const auto server = server_with({certificate_for("mx.example")});
  const auto client = client_for();
  TlsPair pair(*client, *server);
  ASSERT_TRUE(pair.open);
  const std::string text(20'000, 'y');
  // One side with it, one without, in the middle of a connection.
  ASSERT_EQ(pair.client->write(text), TlsStatus::kDone);
  use_fast_gcm(false);
  pair.exchange();
  std::string received;
  std::vector<char> piece(16'384);
  std::size_t got = 0;
  while (pair.server->read(piece, got) == TlsStatus::kDone) received.append(piece.data(), got);
  EXPECT_EQ(received, text);
  ASSERT_EQ(pair.server->write(text), TlsStatus::kDone);
  use_fast_gcm(true);
  pair.exchange();
  received.clear();
  while (pair.client->read(piece, got) == TlsStatus::kDone) received.append(piece.data(), got);
  EXPECT_EQ(received, text);
}

TEST(TlsStream, CloseNotifyIsSeen) {
  const auto server = server_with({certificate_for("mx.example")});
  const auto client = client_for();
  TlsPair pair(*client, *server);
  ASSERT_TRUE(pair.open);
  pair.client->close_notify();
  pair.exchange();
  char byte = 0;
  std::size_t got = 0;
  EXPECT_EQ(pair.server->read({&byte, 1}, got), TlsStatus::kClosed);
}

TEST(TlsStream, ClearBytesFail) {
  const auto server = server_with({certificate_for("mx.example")});
  const auto client = client_for();
  TlsPair pair(*client, *server);
  ASSERT_TRUE(pair.open);
  pair.server_side.inward += "MAIL FROM:<a@b.example>\r\n";
  char byte = 0;
  std::size_t got = 0;
  EXPECT_EQ(pair.server->read({&byte, 1}, got), TlsStatus::kFailed);
  EXPECT_EQ(got, 0U);
  EXPECT_NE(pair.server->error_text(), "");
}

TEST(TlsStream, EveryChangedByteOfARecordFails) {
  const auto server = server_with({certificate_for("mx.example")});
  const auto client = client_for();
  for (std::size_t at = 5; at < 5 + 10 + 17; ++at) {
    TlsPair pair(*client, *server);
    ASSERT_TRUE(pair.open);
    ASSERT_EQ(pair.client->write("0123456789"), TlsStatus::kDone);
    ASSERT_EQ(pair.client_side.outward.size(), 32U);
    pair.client_side.outward[at] = static_cast<char>(pair.client_side.outward[at] ^ 0x10);
    pair.exchange();
    std::vector<char> piece(100);
    std::size_t got = 0;
    ASSERT_EQ(pair.server->read(piece, got), TlsStatus::kFailed) << at;
    ASSERT_EQ(got, 0U);
  }
}

TEST(TlsServer, ChoosesByNameAndByWhatTheClientKnows) {
  const TlsCertificate first = certificate_for("first.example");
  TlsCertificate rsa_beside = first;  // as far as choosing goes
  rsa_beside.key = CertificateKey::kRsa;
  const auto server =
      server_with({first, rsa_beside, certificate_for("a.example"),
                   certificate_for("*.wild.example"), certificate_for("exact.wild.example")});
  const auto chosen = [&](std::string_view name, bool ecdsa = true) {
    ClientHello hello;
    hello.server_name = name;
    hello.takes_p256 = ecdsa;
    hello.takes_rsa = true;
    return server->choose(hello);
  };
  EXPECT_EQ(chosen(""), 0U);
  EXPECT_EQ(chosen("unknown.example"), 0U);
  EXPECT_EQ(chosen("first.example"), 0U);
  EXPECT_EQ(chosen("a.example"), 2U);
  EXPECT_EQ(chosen("x.wild.example"), 3U);
  EXPECT_EQ(chosen("exact.wild.example"), 4U);
  EXPECT_EQ(chosen("", false), 1U);
  EXPECT_EQ(chosen("first.example", false), 1U);
  EXPECT_EQ(chosen("a.example", false), 1U);  // nothing else it could check
}

// P-384 beside RSA and P-256, and clients that know one kind only.
TEST(TlsServer, ChoosesWhatTheClientCanCheck) {
  TlsCertificate p256 = certificate_for("mx.example");
  TlsCertificate p384 = p256;  // as far as choosing goes
  TlsCertificate rsa = p256;
  p384.key = CertificateKey::kP384;
  rsa.key = CertificateKey::kRsa;
  const auto server = server_with({p384, rsa, p256});
  const auto chosen = [&](bool takes_rsa, bool takes_p256, bool takes_p384) {
    ClientHello hello;
    hello.takes_rsa = takes_rsa;
    hello.takes_p256 = takes_p256;
    hello.takes_p384 = takes_p384;
    return server->choose(hello);
  };
  EXPECT_EQ(chosen(true, true, true), 2U);
  EXPECT_EQ(chosen(true, false, true), 0U);
  EXPECT_EQ(chosen(false, false, true), 0U);
  EXPECT_EQ(chosen(true, false, false), 1U);
  EXPECT_EQ(chosen(false, true, false), 2U);
}

TEST(TlsServer, OldVersionsAreRefused) {
  const auto server = server_with({certificate_for("mx.example")}, nullptr, false);
  const auto client = client_for();
  MemoryTransport transport;
  const auto stream = client->connect(transport);
  stream->handshake();
  // A hello for TLS 1.2 only: the extension that offers 1.3 is renamed.
  std::string hello = transport.outward;
  const std::size_t at = hello.find(std::string("\x00\x2B\x00", 3));
  ASSERT_NE(at, std::string::npos);
  hello[at + 1] = '\x7F';
  ClientHello read;
  ASSERT_EQ(read_client_hello(hello, read), HelloOutcome::kHello);
  EXPECT_FALSE(read.takes_tls13);
  MemoryTransport side;
  side.inward = hello;
  const auto refused = server->accept(read, side);
  EXPECT_EQ(refused->handshake(), TlsStatus::kFailed);
  ASSERT_GE(side.outward.size(), 7U);
  EXPECT_EQ(side.outward[0], '\x15');
  EXPECT_EQ(side.outward[6], '\x46');  // protocol_version
}

TEST(TlsServer, TicketKeysOutliveTheServerThatWasReplaced) {
  const auto keys = std::make_shared<TlsTicketKeys>(kHour);
  auto server = server_with({certificate_for("mx.example")}, keys);
  const auto client = client_for();
  auto pair = std::make_unique<TlsPair>(*client, *server);
  ASSERT_TRUE(pair->open);
  server = server_with({certificate_for("mx.example")}, keys);  // the first one lives on in `pair`
  const std::string text = "still there";
  EXPECT_EQ(TlsPair::carry(*pair->client, *pair->server, *pair, text), text);
}

}  // namespace
}  // namespace mxring::net
