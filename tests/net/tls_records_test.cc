// Records that no library would send, under the right keys, at every state of TLS 1.2 and 1.3: each
// is refused with the alert that the standard names, or taken, in one piece and byte by byte, with
// libipsec-mb and without.
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "net/record_cipher.h"
#include "net/record_rules.h"
#include "tests/net/keyed_client.h"
#include "tests/net/tls_fed.h"
#include "tests/net/tls_pair.h"
#include "uring/ring.h"

namespace mxring::net {
namespace {

enum class When { kBeforeFinished, kWithFinished, kOpen, kAfterData };

struct Kind {
  const char* name;
  KeyedClient::Options options;
  bool fast = true;
};
constexpr Kind kTls13{"1.3", {.version = 13}};
constexpr Kind kTls13Slow{"1.3 by wolfSSL", {.version = 13}, false};
constexpr Kind kTls12{"1.2", {.version = 12}};
constexpr Kind kTls12Slow{"1.2 by wolfSSL", {.version = 12}, false};
constexpr Kind kTls12ChaCha{"1.2 ChaCha20", {.version = 12, .chacha = true}};

class TlsRecords : public testing::Test {
 protected:
  void SetUp() override {
    auto ring = uring::Ring::create({}, nullptr);
    if (!ring) GTEST_SKIP() << ring.error().message;
    ring_.emplace(std::move(*ring));
    auto pool = uring::BufferPool::create(
        *ring_, {.group = 0, .buffer_bytes = 16 * 1024, .buffers = 64, .offered = 8});
    ASSERT_TRUE(pool.has_value());
    buffers_.emplace(std::move(*pool));
    free_ = buffers_->free_buffers();
    server_ = server_with({certificate_for("mx.example")});
  }
  void TearDown() override {
    use_fast_gcm(true);
    if (buffers_) {
      EXPECT_EQ(buffers_->free_buffers(), free_);
    }
  }

  void begin(const Kind& kind) {
    use_fast_gcm(kind.fast);
    fed_ = std::make_unique<Fed>(*buffers_, server_);
    client_.emplace(kind.options);
    send(client_->hello());
    ASSERT_TRUE(client_->ready()) << kind.name;
  }
  void open(const Kind& kind) {
    begin(kind);
    send(client_->finished());
    ASSERT_EQ((*fed_)->state(), TlsState::kOpen) << kind.name;
  }
  void send(std::string_view bytes, std::size_t piece = 16'384) {
    fed_->feed(bytes, {piece});
    client_->receive(fed_->sent());
  }
  void expect_refused(TlsAlert alert, const std::string& what) {
    EXPECT_EQ((*fed_)->state(), TlsState::kFailed) << what;
    EXPECT_EQ(client_->alert_level(), 2) << what;
    EXPECT_EQ(client_->alert_code(), static_cast<int>(alert)) << what;
  }
  void expect_open(const std::string& what) {
    ASSERT_EQ((*fed_)->state(), TlsState::kOpen) << what;
    const std::size_t before = fed_->plaintext.size();
    send(client_->data("QUIT\r\n"));
    EXPECT_EQ(fed_->plaintext.substr(before), "QUIT\r\n") << what;
    fed_->say("221 2.0.0 Bye\r\n");
    client_->receive(fed_->sent());
    EXPECT_EQ(client_->heard(), "221 2.0.0 Bye\r\n") << what;
  }

  std::optional<uring::Ring> ring_;
  std::optional<uring::BufferPool> buffers_;
  std::uint32_t free_ = 0;
  std::shared_ptr<const TlsServer> server_;
  std::unique_ptr<Fed> fed_;
  std::optional<KeyedClient> client_;
};

using Make = std::function<std::string(KeyedClient&)>;

Make sealed(std::string inner) {
  return [inner](KeyedClient& client) { return client.seal(inner); };
}
Make sealed_as(std::uint8_t outer, std::string inner) {
  return [=](KeyedClient& client) { return client.seal(inner, outer); };
}
Make raw(std::string bytes) {
  return [bytes](KeyedClient&) { return bytes; };
}
// Records as they were made, in this order: an initializer list is evaluated from left to right.
std::string sequence(std::initializer_list<std::string> records) {
  std::string all;
  for (const std::string& record : records) all += record;
  return all;
}
std::string bytes(std::initializer_list<int> values) {
  std::string text;
  for (const int value : values) text += static_cast<char>(value);
  return text;
}

TEST_F(TlsRecords, BothVersionsWork) {
  for (const Kind& kind : {kTls13, kTls13Slow, kTls12, kTls12Slow, kTls12ChaCha}) {
    open(kind);
    send(client_->data("EHLO a\r\n"), 1);
    EXPECT_EQ(fed_->plaintext, "EHLO a\r\n") << kind.name;
    expect_open(kind.name);
  }
}

struct Refused {
  const char* what;
  Make make;
  TlsAlert alert = TlsAlert::kUnexpectedMessage;
};

std::vector<Refused> never_in_13() {
  return {
      {"nothing", sealed("")},
      {"one zero", sealed(std::string(1, '\0'))},
      {"zeros", sealed(std::string(100, '\0'))},
      {"a record of zeros", sealed(std::string(16'385, '\0'))},
      {"type 0 after text", sealed(std::string("abc\0", 4) + std::string(3, '\0'))},
      {"change_cipher_spec inside", sealed("\x01\x14")},
      {"heartbeat", sealed("a\x18")},
      {"type 255", sealed("a\xff")},
      {"empty alert", sealed("\x15"), TlsAlert::kDecodeError},
      {"half an alert", sealed("\x01\x15"), TlsAlert::kDecodeError},
      {"two alerts in one", sealed(bytes({1, 90, 1, 90, 21})), TlsAlert::kDecodeError},
      {"empty handshake", sealed("\x16")},
      {"empty handshake, padded", sealed(std::string("\x16\0\0\0", 4))},
      {"a message's header cut", sealed(bytes({20, 0, 0, 22}))},
      {"ClientHello", sealed(bytes({1, 0, 0, 5, 1, 2, 3, 4, 5, 22}))},
      {"Certificate", sealed(bytes({11, 0, 0, 4, 0, 0, 0, 0, 22}))},
      {"CertificateVerify", sealed(bytes({15, 0, 0, 4, 4, 3, 0, 0, 22}))},
      {"NewSessionTicket", sealed(bytes({4, 0, 0, 5, 1, 2, 3, 4, 5, 22}))},
      {"EndOfEarlyData", sealed(bytes({5, 0, 0, 0, 22}))},
      {"CertificateRequest", sealed(bytes({13, 0, 0, 3, 0, 0, 0, 22}))},
      {"message_hash", sealed(bytes({254, 0, 0, 1, 0, 22}))},
      {"a message of 16 MiB", sealed(bytes({20, 255, 255, 255, 0, 22}))},
      {"long KeyUpdate", sealed(bytes({24, 0, 0, 5, 1, 1, 1, 1, 1, 22}))},
      {"empty KeyUpdate", sealed(bytes({24, 0, 0, 0, 22}))},
      {"KeyUpdate and more", sealed(bytes({24, 0, 0, 1, 0, 24, 0, 0, 1, 0, 22}))},
      {"too much text", sealed(std::string(16'385, 'x') + '\x17'), TlsAlert::kRecordOverflow},
      {"handshake outside", sealed_as(22, "NOOP\r\n\x17")},
      {"alert outside", sealed_as(21, "NOOP\r\n\x17")},
      {"heartbeat outside", raw(bytes({24, 3, 3, 0, 3, 1, 0, 0}))},
      {"type 0 outside", raw(bytes({0, 3, 3, 0, 1, 0}))},
      {"a clear alert", raw(bytes({21, 3, 3, 0, 2, 1, 0}))},
      {"no bytes", raw(bytes({23, 3, 3, 0, 0}))},
      {"one byte", raw(bytes({23, 3, 3, 0, 1, 'a'}))},
      {"no more than a tag", raw(bytes({23, 3, 3, 0, 16}) + std::string(16, 'a'))},
      {"no alert", raw(bytes({21, 3, 3, 0, 0}))},
      {"no handshake", raw(bytes({22, 3, 3, 0, 0}))},
      {"no change", raw(bytes({20, 3, 3, 0, 0}))},
      {"two changes in one", raw(bytes({20, 3, 3, 0, 2, 1, 1}))},
      // Refused by its header: none of it needs to come.
      {"18 KiB", raw(bytes({23, 3, 3, 0x48, 0})), TlsAlert::kRecordOverflow},
      {"64 KiB", raw(bytes({23, 3, 3, 0xFF, 0xFF})), TlsAlert::kRecordOverflow},
      {"one more than allowed", raw(bytes({23, 3, 3, 0x40, 0x12})), TlsAlert::kRecordOverflow},
  };
}

// CVE-2024-0901 and its neighbours: before the client's Finished, under the keys of the handshake,
// after it, and behind data in the same segment.
TEST_F(TlsRecords, NeverInTls13) {
  for (const Kind& kind : {kTls13, kTls13Slow}) {
    for (const Refused& refused : never_in_13()) {
      for (const When when :
           {When::kBeforeFinished, When::kWithFinished, When::kOpen, When::kAfterData}) {
        for (const std::size_t piece : {16'384U, 1U}) {
          const std::string what = std::string(kind.name) + ", " + refused.what + ", state " +
                                   std::to_string(static_cast<int>(when)) + ", pieces of " +
                                   std::to_string(piece);
          when == When::kBeforeFinished || when == When::kWithFinished ? begin(kind) : open(kind);
          std::string out;
          if (when == When::kWithFinished) out = client_->finished();
          if (when == When::kAfterData) out = client_->data("NOOP\r\n");
          out += refused.make(*client_);
          if (out.size() > 5'000 && piece == 1) continue;
          send(out, piece);
          expect_refused(refused.alert, what);
          EXPECT_EQ(fed_->plaintext, when == When::kAfterData ? "NOOP\r\n" : "") << what;
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST_F(TlsRecords, DataAndNewKeysBeforeFinished) {
  for (const Kind& kind : {kTls13, kTls13Slow}) {
    begin(kind);
    send(client_->data("EHLO early\r\n"));
    expect_refused(TlsAlert::kUnexpectedMessage, "data");
    begin(kind);
    send(client_->key_update());
    expect_refused(TlsAlert::kUnexpectedMessage, "a new key");
    EXPECT_EQ(fed_->plaintext, "");
  }
}

TEST_F(TlsRecords, WhatTls13Allows) {
  for (const Kind& kind : {kTls13, kTls13Slow}) {
    for (const std::size_t piece : {16'384U, 1U}) {
      open(kind);
      send(client_->seal(std::string("NOOP\r\n\x17") + std::string(300, '\0')), piece);  // padded
      send(client_->data(""), piece);
      send(client_->key_update(true), piece);
      send(client_->key_update(), piece);
      send(client_->alert(1, 90), piece);  // user_canceled
      EXPECT_EQ(fed_->plaintext, "NOOP\r\n");
      send(client_->data(std::string(16'384, 'x')), 16'384);
      EXPECT_EQ(fed_->plaintext.size(), 6 + 16'384U);
      expect_open(kind.name);
    }
  }
}

// A Finished cut into two records, anywhere after its header; a KeyUpdate, too.
TEST_F(TlsRecords, MessagesCutIntoRecords) {
  for (const Kind& kind : {kTls13, kTls13Slow}) {
    for (std::size_t at = 1; at < 36; ++at) {
      begin(kind);
      const std::string finished = client_->finished_message();
      std::string out = client_->seal(finished.substr(0, at) + '\x16');
      out += client_->seal(finished.substr(at) + '\x16');
      client_->switch_keys();
      send(out);
      if (at < 4) {
        expect_refused(TlsAlert::kUnexpectedMessage, "cut at " + std::to_string(at));
      } else {
        expect_open("cut at " + std::to_string(at));
      }
    }
    begin(kind);
    const std::string finished = client_->finished_message();
    std::string out = client_->seal(finished.substr(0, 20) + '\x16');
    out += client_->alert(1, 90);
    send(out);  // between its halves
    expect_refused(TlsAlert::kUnexpectedMessage, "an alert in a message");
  }
}

// change_cipher_spec means nothing in TLS 1.3 and may come once before Finished (RFC 8446 D.4).
TEST_F(TlsRecords, ChangeCipherSpecInTls13) {
  const std::string change = KeyedClient::clear(20, "\x01");
  begin(kTls13);
  send(change + client_->finished(), 1);
  expect_open("one");
  begin(kTls13);
  std::string flood;
  for (int i = 0; i < 1'000; ++i) flood += change;
  send(flood);
  EXPECT_EQ((*fed_)->state(), TlsState::kFailed);
  begin(kTls13);
  send(KeyedClient::clear(20, "\x02"));
  EXPECT_EQ((*fed_)->state(), TlsState::kFailed);
  open(kTls13);
  send(change);
  expect_refused(TlsAlert::kUnexpectedMessage, "after Finished");
}

TEST_F(TlsRecords, NeverInTls12) {
  const std::vector<Refused> all{
      {"empty handshake", sealed_as(22, "")},
      {"HelloRequest", sealed_as(22, std::string(4, '\0'))},
      {"ClientHello (renegotiation)", sealed_as(22, bytes({1, 0, 0, 5, 1, 2, 3, 4, 5}))},
      {"Finished again", sealed_as(22, bytes({20, 0, 0, 12}) + std::string(12, 'a'))},
      {"change_cipher_spec", sealed_as(20, "\x01")},
      {"change_cipher_spec in the clear", raw(bytes({20, 3, 3, 0, 1, 1}))},
      {"handshake in the clear", raw(bytes({22, 3, 3, 0, 4, 0, 0, 0, 0}))},
      {"empty alert", sealed_as(21, "")},
      {"half an alert", sealed_as(21, "\x01")},
      {"two alerts in one", sealed_as(21, bytes({1, 90, 1, 90}))},
      {"alert in the clear", raw(bytes({21, 3, 3, 0, 2, 1, 90}))},
      {"heartbeat", sealed_as(24, "abc")},
      {"type 0", sealed_as(0, "abc")},
      {"no bytes", raw(bytes({23, 3, 3, 0, 0}))},
      {"less than a tag", raw(bytes({23, 3, 3, 0, 15}) + std::string(15, 'a'))},
      {"too much text", sealed(std::string(16'385, 'x')), TlsAlert::kRecordOverflow},
      {"18 KiB", raw(bytes({23, 3, 3, 0x48, 0})), TlsAlert::kRecordOverflow},
  };
  for (const Kind& kind : {kTls12, kTls12Slow, kTls12ChaCha}) {
    for (const Refused& refused : all) {
      for (const std::size_t piece : {16'384U, 1U}) {
        open(kind);
        const std::string out = sequence({client_->data("NOOP\r\n"), refused.make(*client_)});
        if (out.size() > 5'000 && piece == 1) continue;
        send(out, piece);
        // With ChaCha20 wolfSSL encrypts alerts, and says that it closes.
        const std::string what = std::string(kind.name) + ", " + refused.what;
        if (kind.options.chacha) {
          EXPECT_EQ((*fed_)->state(), TlsState::kFailed) << what;
        } else {
          expect_refused(refused.alert, what);
        }
        EXPECT_EQ(fed_->plaintext, "NOOP\r\n") << what;
      }
    }
  }
}

// In the handshake of TLS 1.2, between the messages of the client.
TEST_F(TlsRecords, BetweenTheMessagesOfTls12) {
  const std::vector<Make> all{sealed(""),
                              sealed("EHLO early\r\n"),
                              sealed_as(20, "\x01"),
                              sealed_as(21, ""),
                              sealed_as(22, ""),
                              sealed_as(22, "\x14"),
                              raw(bytes({22, 3, 3, 0, 0})),
                              raw(bytes({20, 3, 3, 0, 2, 1, 1})),
                              raw(bytes({20, 3, 3, 0, 0})),
                              raw(bytes({21, 3, 3, 0, 1, 1})),
                              raw(bytes({23, 3, 3, 0, 40}) + std::string(40, 'a')),
                              raw(bytes({22, 3, 3, 0, 4, 0, 0, 0, 0})),
                              raw(bytes({22, 3, 3, 0, 4, 14, 0, 0, 0}))};
  for (const Kind& kind : {kTls12, kTls12Slow, kTls12ChaCha}) {
    for (int before = 0; before < 3; ++before) {
      for (std::size_t i = 0; i < all.size(); ++i) {
        begin(kind);
        std::string out;
        const std::string exchange = client_->key_exchange();  // and the keys
        if (before > 0) out += exchange;
        if (before > 1) out += client_->change_cipher();
        out += all[i](*client_);
        send(out, 3);
        EXPECT_NE((*fed_)->state(), TlsState::kOpen);
        send(client_->finished_record());
        EXPECT_EQ((*fed_)->state(), TlsState::kFailed) << kind.name << before << "," << i;
        EXPECT_EQ(fed_->plaintext, "");
      }
    }
  }
}

TEST_F(TlsRecords, RecordsWithoutDataHaveABound) {
  const std::vector<Make> kinds{
      [](KeyedClient& client) { return client.data(""); },
      [](KeyedClient& client) { return client.alert(1, 90); },
  };
  for (const Kind& kind : {kTls13, kTls13Slow, kTls12, kTls12ChaCha}) {
    for (const Make& make : kinds) {
      open(kind);
      int sent = 0;
      while ((*fed_)->state() == TlsState::kOpen && sent < 1'000) {
        send(make(*client_));
        ++sent;
      }
      EXPECT_EQ((*fed_)->state(), TlsState::kFailed) << kind.name;
      EXPECT_LE(sent, 33) << kind.name;
    }
    // With data between them empty records may go on.
    open(kind);
    for (int i = 0; i < 500; ++i) {
      send(sequence({client_->data(""), client_->data(""), client_->data("x")}));
    }
    EXPECT_EQ(fed_->plaintext.size(), 500U) << kind.name;
    expect_open(kind.name);
  }
}

TEST_F(TlsRecords, NewKeysHaveABound) {
  open(kTls13);
  int sent = 0;
  for (; (*fed_)->state() == TlsState::kOpen && sent < 1'000; ++sent) {
    send(sequence({client_->key_update(true), client_->data("x")}));
  }
  expect_refused(TlsAlert::kUnexpectedMessage, "new keys without end");
  EXPECT_EQ(sent, 65);
  open(kTls13);
  const std::string text(16'384, 'x');
  for (int i = 0; i < 200; ++i) {
    send(sequence({client_->key_update(), client_->data(text), client_->data(text),
                   client_->data(text), client_->data(text)}));
  }
  expect_open("new keys for much data");
}

TEST_F(TlsRecords, AHandshakeInManyRecordsHasABound) {
  for (const Kind& kind : {kTls13, kTls12}) {
    begin(kind);
    const std::string warning = KeyedClient::clear(21, bytes({1, 90}));
    for (int i = 0; i < 1'000 && (*fed_)->state() == TlsState::kHandshake; ++i) send(warning);
    EXPECT_EQ((*fed_)->state(), TlsState::kFailed) << kind.name;
  }
  // A Finished in as many records as it has bytes is allowed, and few enough.
  begin(kTls13);
  const std::string finished = client_->finished_message();
  std::string out = client_->seal(finished.substr(0, 4) + '\x16');
  for (std::size_t i = 4; i < finished.size(); ++i) {
    out += client_->seal(finished.substr(i, 1) + '\x16');
  }
  client_->switch_keys();
  send(out);
  expect_open("byte by byte");
}

// The pin of an unfinished record that may never be one.
TEST_F(TlsRecords, AnOversizeHeaderHoldsNothing) {
  open(kTls13);
  send(bytes({23, 3, 3, 0x48, 0}) + std::string(8'900, 'a'));
  expect_refused(TlsAlert::kRecordOverflow, "18 KiB");
  EXPECT_EQ((*fed_)->buffers_held(), 0U);
  EXPECT_EQ(buffers_->free_buffers(), free_);
}

}  // namespace
}  // namespace mxring::net
