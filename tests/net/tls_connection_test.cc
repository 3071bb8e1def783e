// TLS between receive buffers and parser: any split of the bytes, buffers given back, small rests
// kept small.
#include "net/tls_connection.h"

#include <gtest/gtest.h>
#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <malloc.h>
#include <wolfssl/ssl.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/net/tls_fed.h"
#include "tests/net/tls_pair.h"
#include "tests/support/broken_invariant.h"
#include "uring/probe.h"
#include "uring/ring.h"

namespace mxring::net {
namespace {

class TlsConnectionTest : public testing::Test {
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
    client_ = client_for("mx.example");
  }
  void TearDown() override {
    if (buffers_) {
      EXPECT_EQ(buffers_->free_buffers(), free_);
    }
  }

  // A client, its handshake with `fed` done in pieces of `size`.
  std::unique_ptr<TlsStream> connected(Fed& fed, MemoryTransport& side, std::size_t size) {
    auto stream = client_->connect(side);
    for (int turn = 0; turn < 6; ++turn) {
      const TlsStatus status = stream->handshake();
      const std::string flight = std::exchange(side.outward, {});
      if (!flight.empty()) fed.feed(flight, {size});
      side.inward += fed.sent();
      if (status == TlsStatus::kDone && fed->state() == TlsState::kOpen) return stream;
      EXPECT_NE(status, TlsStatus::kFailed) << stream->error_text();
    }
    ADD_FAILURE() << "no handshake";
    return stream;
  }

  std::optional<uring::Ring> ring_;
  std::optional<uring::BufferPool> buffers_;
  std::uint32_t free_ = 0;
  std::shared_ptr<const TlsServer> server_;
  std::shared_ptr<const TlsClient> client_;
};

TEST_F(TlsConnectionTest, AnySplitGivesTheSameBytes) {
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    Fed fed(*buffers_, server_);
    MemoryTransport side;
    const std::size_t handshake_piece = round < 20 ? static_cast<std::size_t>(round) + 1 : 5000;
    const auto stream = connected(fed, side, handshake_piece);
    EXPECT_EQ(fed->hello().server_name, "mx.example");
    std::string text;
    for (int i = 0; i < 8; ++i) {
      std::string part(1 + random() % (i % 2 == 0 ? 40 : 20'000), static_cast<char>('a' + i));
      ASSERT_EQ(stream->write(part), TlsStatus::kDone);
      text += part;
    }
    std::vector<std::size_t> sizes;
    for (int i = 0; i < 400; ++i) sizes.push_back(1 + random() % (round % 3 == 0 ? 30 : 16'384));
    sizes.push_back(16'384);
    const std::string records = std::exchange(side.outward, {});
    fed.feed(records, sizes);
    ASSERT_EQ(fed.plaintext, text) << round;
    EXPECT_LE(fed.held_most, 4U);
    // Decrypted, and before that moved once at most.
    EXPECT_GE(fed->bytes_copied(), text.size());
    EXPECT_LE(fed->bytes_copied(), text.size() + records.size());
  }
}

// Clients for whom a middlebox must be fooled put a change_cipher_spec before their last flight
// (RFC 8446 D.4), so that more than one record may be here in part.
TEST_F(TlsConnectionTest, EveryThreePiecesOfTheLastFlight) {
  const std::string change_cipher_spec("\x14\x03\x03\x00\x01\x01", 6);
  std::size_t flight_bytes = 100;
  for (std::size_t first = 1; first < flight_bytes; ++first) {
    for (std::size_t last = 1; last <= 8; ++last) {
      Fed fed(*buffers_, server_);
      MemoryTransport side;
      const auto stream = client_->connect(side);
      stream->handshake();
      fed.feed(std::exchange(side.outward, {}), {16'384});
      side.inward += fed.sent();
      ASSERT_EQ(stream->handshake(), TlsStatus::kDone);
      const std::string flight = change_cipher_spec + std::exchange(side.outward, {});
      flight_bytes = flight.size();
      const std::size_t middle = first + last < flight_bytes ? flight_bytes - first - last : 1;
      fed.feed(flight, {first, middle, last});
      ASSERT_EQ(fed->state(), TlsState::kOpen) << first << " and " << last;
    }
  }
}

TEST_F(TlsConnectionTest, EveryTwoPiecesOfTwoRecords) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 16'384);
  for (std::size_t cut = 1; cut < 60; ++cut) {
    ASSERT_EQ(stream->write("NOOP\r\n"), TlsStatus::kDone);
    ASSERT_EQ(stream->write("QUIT\r\n"), TlsStatus::kDone);
    fed.plaintext.clear();
    fed.feed(std::exchange(side.outward, {}), {cut, 16'384});
    ASSERT_EQ(fed.plaintext, "NOOP\r\nQUIT\r\n") << cut;
  }
}

TEST_F(TlsConnectionTest, RepliesGoOutAsOneRecord) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 16'384);
  const std::string replies(fed->room().size(), 'r');
  fed.say(replies);
  const std::string record = fed.sent();
  EXPECT_LE(record.size(), replies.size() + 22);
  side.inward += record;
  std::vector<char> piece(16'384);
  std::size_t got = 0;
  ASSERT_EQ(stream->read(piece, got), TlsStatus::kDone);
  EXPECT_EQ(std::string_view(piece.data(), got), replies);
}

// A client that sends a byte now and then holds no receive buffer.
TEST_F(TlsConnectionTest, DribblersHoldNoBuffers) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 1);
  EXPECT_EQ(buffers_->free_buffers(), free_);
  ASSERT_EQ(stream->write(std::string(1000, 'x')), TlsStatus::kDone);
  std::string record = std::exchange(side.outward, {});
  const char last = record.back();
  record.pop_back();
  fed.feed(record, {1});
  EXPECT_EQ(fed.plaintext, "");
  EXPECT_EQ(buffers_->free_buffers(), free_);
  fed.feed(std::string_view(&last, 1), {1});
  EXPECT_EQ(fed.plaintext, std::string(1000, 'x'));
}

// However much of the record has come before: 16 KiB in segments of one byte once held as many
// receive buffers.
TEST_F(TlsConnectionTest, DribblersBehindAGoodStartHoldFewBuffers) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 16'384);
  for (const std::size_t start : {2'047U, 2'048U, 2'100U, 12'000U, 16'384U}) {
    const std::string text(16'384, 'x');
    ASSERT_EQ(stream->write(text), TlsStatus::kDone);
    fed.plaintext.clear();
    fed.held_most = 0;
    fed.feed(std::exchange(side.outward, {}), {start, 1});
    EXPECT_TRUE(fed.plaintext == text) << start;
    EXPECT_LE(fed.held_most, start < 2'048 ? 0U : 2U) << start;
    EXPECT_EQ(buffers_->free_buffers(), free_);
  }
}

// Senders whose network gives us small segments.
TEST_F(TlsConnectionTest, SegmentsOfANetworkHoldFewBuffers) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 16'384);
  for (const std::vector<std::size_t>& sizes : std::vector<std::vector<std::size_t>>{
           {2'048, 1'460}, {2'920}, {1'460}, {5'840}, {9'000}, {1, 16'384, 1, 2'000}}) {
    std::string text;
    for (int i = 0; i < 20; ++i) {
      text.append(16'384, static_cast<char>('a' + i));
      ASSERT_EQ(stream->write(text.substr(text.size() - 16'384)), TlsStatus::kDone);
    }
    fed.plaintext.clear();
    fed.held_most = 0;
    fed.feed(std::exchange(side.outward, {}), sizes);
    EXPECT_TRUE(fed.plaintext == text);
    EXPECT_LE(fed.held_most, 3U) << sizes[0];
  }
}

// Bulk is copied by decrypting only.
TEST_F(TlsConnectionTest, FullSegmentsAreNotMoved) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 16'384);
  const std::string part(16'384, 'x');
  // Nor segments of which two are no less than a record.
  for (const std::size_t size : {16'384U, 10'000U, 8'300U}) {
    const std::uint64_t before = fed->bytes_copied();
    for (int i = 0; i < 32; ++i) ASSERT_EQ(stream->write(part), TlsStatus::kDone);
    fed.feed(std::exchange(side.outward, {}), {size});
    const std::uint64_t moved = fed->bytes_copied() - before - 32 * part.size();
    EXPECT_LE(moved, 32 * part.size() / 8) << size;
  }
}

TEST_F(TlsConnectionTest, NoBufferNow) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 16'384);
  ASSERT_EQ(stream->write("HELP\r\n"), TlsStatus::kDone);
  const std::string record = std::exchange(side.outward, {});
  Chunk chunk;
  ASSERT_TRUE(buffers_->take(&chunk.buffer));
  std::memcpy(buffers_->data(chunk.buffer), record.data(), record.size());
  chunk.end = static_cast<std::uint32_t>(record.size());
  std::vector<uring::BufferId> taken;
  for (uring::BufferId id = 0; buffers_->take(&id);) taken.push_back(id);
  std::vector<Chunk> chunks;
  fed->add(chunk);
  EXPECT_FALSE(fed->decrypt(chunks));
  EXPECT_TRUE(chunks.empty());
  for (const uring::BufferId id : taken) buffers_->release(id);
  ASSERT_TRUE(fed->decrypt(chunks));
  ASSERT_EQ(chunks.size(), 1U);
  EXPECT_EQ(std::string(buffers_->data(chunks[0].buffer), chunks[0].end), "HELP\r\n");
  buffers_->release(chunks[0].buffer);
}

TEST_F(TlsConnectionTest, OtherProtocolsGetAnAlert) {
  using namespace std::string_view_literals;
  for (const auto& [said, alert] : {std::pair("EHLO x\r\n"sv, '\x0A'),
                                    {"\x16\x03\x01\xFF\xFF\x00"sv, '\x32'},
                                    {"\x16\x03\x01\x00\x04\x02\x00\x00\x00"sv, '\x32'}}) {
    Fed fed(*buffers_, server_);
    fed.feed(said, {1});
    EXPECT_EQ(fed->state(), TlsState::kFailed);
    const std::string sent = fed.sent();
    ASSERT_EQ(sent.size(), 7U);
    EXPECT_EQ(sent[0], '\x15');
    EXPECT_EQ(sent[6], alert);
    fed.feed("more", {4});
    EXPECT_EQ(fed.sent(), "");
  }
}

TEST_F(TlsConnectionTest, DamageAndClearBytesEndIt) {
  for (const std::string& junk :
       {std::string("NOOP\r\n"), std::string("\x17\x03\x03\x00\x20") + std::string(32, 'x'),
        std::string("\x17\x03\x03\xFF\xFF"), std::string("\x16\x03\x03\x00\x05hello")}) {
    Fed fed(*buffers_, server_);
    MemoryTransport side;
    const auto stream = connected(fed, side, 16'384);
    std::string bytes = junk;
    if (bytes[3] == '\0') bytes.resize(std::max<std::size_t>(bytes.size(), 5));
    fed.feed(bytes, {16'384});
    EXPECT_EQ(fed->state(), TlsState::kFailed) << junk;
    EXPECT_EQ(fed.plaintext, "");
  }
}

TEST_F(TlsConnectionTest, CloseNotifyEndsReadingOnly) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 16'384);
  ASSERT_EQ(stream->write("QUIT\r\n"), TlsStatus::kDone);
  stream->close_notify();
  fed.feed(std::exchange(side.outward, {}), {16'384});
  EXPECT_EQ(fed.plaintext, "QUIT\r\n");
  EXPECT_EQ(fed->state(), TlsState::kClosed);
  fed.say("221 2.0.0 Bye\r\n");
  side.inward += fed.sent();
  std::vector<char> piece(100);
  std::size_t got = 0;
  ASSERT_EQ(stream->read(piece, got), TlsStatus::kDone);
  EXPECT_EQ(std::string_view(piece.data(), got), "221 2.0.0 Bye\r\n");
}

TEST_F(TlsConnectionTest, AHandshakeHasAnEnd) {
  Fed fed(*buffers_, server_);
  // Harmless-looking handshake records without end, once the hello is here.
  MemoryTransport side;
  const auto stream = client_->connect(side);
  stream->handshake();
  fed.feed(std::exchange(side.outward, {}), {16'384});
  ASSERT_EQ(fed->state(), TlsState::kHandshake);
  fed.sent();
  const std::string record = std::string("\x16\x03\x03\x3F\xFF") + std::string(1, '\x0B') +
                             std::string("\xFF\xFF\xFF") + std::string(0x3FFF - 4, 'x');
  for (int i = 0; i < 20 && fed->state() == TlsState::kHandshake; ++i) {
    fed.feed(record, {16'384});
  }
  EXPECT_EQ(fed->state(), TlsState::kFailed);
}

// Its own hello, made longer by an extension that nobody reads (RFC 7685), in records of a size.
std::string padded_hello(const TlsClient& client, std::size_t hello_bytes,
                         std::size_t record_bytes) {
  MemoryTransport side;
  const auto stream = client.connect(side);
  stream->handshake();
  std::string message = side.outward.substr(5);
  const auto put = [&](std::size_t at, std::size_t size, std::size_t value) {
    for (std::size_t i = 0; i < size; ++i) {
      message[at + size - 1 - i] = static_cast<char>(value >> (8 * i) & 0xFF);
    }
  };
  const auto get = [&](std::size_t at) { return static_cast<std::uint8_t>(message[at]); };
  std::size_t at = 4 + 2 + 32;
  at += 1U + get(at);
  at += 2U + (std::size_t{get(at)} << 8 | get(at + 1));
  at += 1U + get(at);
  const std::size_t padding = hello_bytes - message.size() - 4;
  message += std::string("\x00\x15", 2) + std::string(2 + padding, '\0');
  put(message.size() - padding - 2, 2, padding);
  put(at, 2, message.size() - at - 2);
  put(1, 3, message.size() - 4);
  std::string records;
  for (std::size_t done = 0; done < message.size(); done += record_bytes) {
    const std::string part = message.substr(done, record_bytes);
    records += std::string("\x16\x03\x01", 3) + static_cast<char>(part.size() >> 8) +
               static_cast<char>(part.size() & 0xFF) + part;
  }
  return records;
}

TEST_F(TlsConnectionTest, LongHellosInSmallRecords) {
  for (const std::size_t hello_bytes : {5'000U, 16'500U, 18'000U}) {
    for (const std::size_t record_bytes : {16U, 500U, 16'384U}) {
      for (const std::size_t segment : {1U, 1'460U, 16'384U}) {
        const std::string records = padded_hello(*client_, hello_bytes, record_bytes);
        Fed fed(*buffers_, server_);
        for (std::size_t done = 0; done < records.size(); done += segment) {
          ASSERT_FALSE(fed->handshake_ready());
          fed.receive(std::string_view(records).substr(done, segment));
        }
        EXPECT_LE(fed->memory_bytes(), records.size() + 1'500);
        ASSERT_TRUE(fed->handshake_ready());
        EXPECT_EQ(fed->handshake_full(), records.size() > kRecordHeaderBytes + kRecordBodyMax)
            << records.size();
        EXPECT_EQ(fed->handshake(), TlsState::kHandshake);
        EXPECT_FALSE(fed->handshake_full());
        EXPECT_LE(fed->memory_bytes(), 2'500U);
        EXPECT_EQ(fed.sent().substr(0, 3), "\x16\x03\x03")
            << hello_bytes << " " << record_bytes << " " << fed->error_text();
      }
    }
  }
}

// What comes while a step waits for its turn: soon enough is enough.
TEST_F(TlsConnectionTest, BytesBehindTheHelloAreBounded) {
  const std::string record = std::string("\x17\x03\x03\x3F\xFB", 5) + std::string(0x3FFB, 'x');
  for (const std::size_t segment : {7U, 1'460U, 16'384U}) {
    Fed fed(*buffers_, server_);
    fed.receive(padded_hello(*client_, 2'000, 16'384));
    ASSERT_TRUE(fed->handshake_ready());
    while (!fed->handshake_full()) fed.receive(std::string_view(record).substr(0, segment));
    EXPECT_LE(fed->memory_bytes(), kRecordBodyMax + 16'384 + 1'500U);
    // What was on its way when receiving was stopped.
    while (fed->state() == TlsState::kHandshake) {
      EXPECT_TRUE(fed->handshake_full());
      EXPECT_LE(fed->memory_bytes(), 64 * 1024 + 100U);
      fed.receive(std::string_view(record).substr(0, segment));
    }
    EXPECT_EQ(fed->state(), TlsState::kFailed);
    EXPECT_LE(fed->memory_bytes(), 200U);
  }
}

// A message of the handshake in records of four bytes, and something always left of the last one.
TEST_F(TlsConnectionTest, WhatAStepHasReadIsForgotten) {
  WOLFSSL_CTX* context = wolfSSL_CTX_new(wolfTLSv1_2_client_method());
  MemoryTransport side;
  TlsStream stream(wolfSSL_new(context), side, RecordRules::Side::kClient);
  wolfSSL_CTX_free(context);
  stream.handshake();
  std::string message("\x10\x00\x3E\x80", 4);  // ClientKeyExchange
  message.resize(4 + 0x3E80, 'x');
  std::string records;
  for (std::size_t done = 0; done < message.size(); done += 4) {
    records += std::string("\x16\x03\x03\x00\x04", 5) + message.substr(done, 4);
  }
  Fed fed(*buffers_, server_);
  fed.feed(side.outward, {16'384});
  for (std::size_t done = 0; done + 100 < records.size(); done += 100) {
    fed.feed(std::string_view(records).substr(done, 100), {16'384});
    ASSERT_EQ(fed->state(), TlsState::kHandshake) << done << fed->error_text();
    ASSERT_LE(fed->memory_bytes(), 4'000U) << done;
  }
}

// What the limit on memory is told of a connection is what the allocator gave for it.
TEST_F(TlsConnectionTest, MemoryHeldIsCountedAtEveryState) {
  constexpr std::size_t kConnections = 32;
  std::vector<std::unique_ptr<Fed>> fed;
  std::vector<std::unique_ptr<MemoryTransport>> sides;
  std::vector<std::unique_ptr<TlsStream>> clients;
  const auto held = [&] {
    std::size_t bytes = 0;
    for (const auto& each : fed) bytes += (*each)->heap_held();
    return bytes;
  };
  std::vector<std::string> hellos;
  for (std::size_t i = 0; i < kConnections; ++i) {
    sides.push_back(std::make_unique<MemoryTransport>());
    clients.push_back(client_->connect(*sides.back()));
    clients.back()->handshake();
    hellos.push_back(std::exchange(sides.back()->outward, {}));
    fed.push_back(std::make_unique<Fed>(*buffers_, server_));
  }
  const std::size_t idle = held() / kConnections;
  EXPECT_LT(idle, 2'000U);
  // Only the server's side allocates between the two looks at the allocator.
  const std::size_t used_before = ::mallinfo2().uordblks;
  const std::size_t held_before = held();
  for (std::size_t i = 0; i < kConnections; ++i) fed[i]->feed(hellos[i], {16'384});
  const std::size_t counted = held() - held_before;
  const std::size_t taken = ::mallinfo2().uordblks - used_before;
  EXPECT_GT(counted / kConnections, 10'000U);  // a handshake under way is no small thing
  EXPECT_LT(counted / kConnections, 100'000U);
  if (used_before != 0 && taken != 0) {  // a sanitizer's allocator tells nothing
    // Its flight lies in output blocks, which belong to the pool.
    EXPECT_GT(counted, taken * 8 / 10 - kConnections * 3 * sizeof(OutputBlock));
    EXPECT_LT(counted, taken * 11 / 10);
  }
  std::printf("TLS state in the handshake: %zu bytes counted, %zu taken, a connection\n",
              counted / kConnections, taken / kConnections);
}

// wolfSSL keeps multiples of points for the whole process: a megabyte in its first handshakes, and
// again for every point that a client uses twice.
TEST_F(TlsConnectionTest, WhatTheLibraryKeepsForAllIsNoConnections) {
  for (const int group : {WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1}) {
    for (int i = 0; i < 8; ++i) {
      WOLFSSL_CTX* context = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
      wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, nullptr);
      int groups[] = {group};
      ASSERT_EQ(wolfSSL_CTX_set_groups(context, groups, 1), WOLFSSL_SUCCESS);
      MemoryTransport side;
      TlsStream client(wolfSSL_new(context), side, RecordRules::Side::kClient);
      wolfSSL_CTX_free(context);
      client.handshake();
      const std::string hello = std::exchange(side.outward, {});
      for (int again = 0; again < 4; ++again) {
        Fed fed(*buffers_, server_);
        fed.feed(hello, {16'384});
        EXPECT_EQ(fed->state(), TlsState::kHandshake);
        EXPECT_GT(fed->heap_held(), 20'000U) << group << " " << i;
        EXPECT_LT(fed->heap_held(), 100'000U) << group << " " << i;
      }
    }
  }
}

TEST_F(TlsConnectionTest, WhatARecordHoldsUntilItIsWholeIsCounted) {
  Fed fed(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(fed, side, 16'384);
  const std::size_t open = fed->heap_held();
  EXPECT_GT(open, 2'000U);
  EXPECT_LT(open, 80'000U);
  std::printf("TLS state when open: %zu bytes\n", open);
  EXPECT_EQ(fed->buffers_held(), 0U);
  ASSERT_EQ(stream->write(std::string(16'000, 'x')), TlsStatus::kDone);
  const std::string record = std::exchange(side.outward, {});
  fed.feed(record.substr(0, 9'000), {16'384});  // in its receive buffer
  EXPECT_EQ(fed->buffers_held(), 1U);
  EXPECT_EQ(buffers_->free_buffers(), free_ - 1);
  fed.feed(record.substr(9'000), {16'384});
  EXPECT_EQ(fed->buffers_held(), 0U);
  EXPECT_EQ(fed.plaintext.size(), 16'000U);
  ASSERT_EQ(stream->write(std::string(16'000, 'x')), TlsStatus::kDone);
  fed.feed(std::exchange(side.outward, {}).substr(0, 1'500), {100});  // small: in memory of its own
  EXPECT_EQ(fed->buffers_held(), 0U);
  const std::size_t with_part = fed->heap_held();
  fed->stop_reading();
  EXPECT_GE(with_part, fed->heap_held() + 1'500U);
  EXPECT_LE(with_part, fed->heap_held() + 4'000U);
}

// A client that changes its keys and asks for new ones of ours (RFC 8446 4.6.3).
class KeyUpdates : public TlsConnectionTest {
 protected:
  void SetUp() override {
    TlsConnectionTest::SetUp();
    if (!IsSkipped()) connect();
  }
  void connect() {
    stream_.reset();
    side_ = {};
    WOLFSSL_CTX* context = wolfSSL_CTX_new(wolfTLSv1_3_client_method());
    wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, nullptr);
    ssl_ = wolfSSL_new(context);
    wolfSSL_CTX_free(context);  // `ssl_` holds it
    stream_ = std::make_unique<TlsStream>(ssl_, side_, RecordRules::Side::kClient);
    fed_ = std::make_unique<Fed>(*buffers_, server_);
    for (int turn = 0; turn < 3 && stream_->handshake() != TlsStatus::kDone; ++turn) pass();
    pass();
    ASSERT_EQ((*fed_)->state(), TlsState::kOpen);
  }
  void TearDown() override {
    fed_.reset();
    TlsConnectionTest::TearDown();
  }
  void pass() {
    if (!side_.outward.empty()) fed_->feed(std::exchange(side_.outward, {}), {16'384});
    side_.inward += fed_->sent();
  }

  MemoryTransport side_;
  WOLFSSL* ssl_ = nullptr;
  std::unique_ptr<TlsStream> stream_;
  std::unique_ptr<Fed> fed_;
};

TEST_F(KeyUpdates, AreAnswered) {
  std::vector<char> piece(100);
  std::size_t got = 0;
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(wolfSSL_update_keys(ssl_), WOLFSSL_SUCCESS);
    ASSERT_EQ(stream_->write("NOOP\r\n"), TlsStatus::kDone);
    pass();
    ASSERT_EQ((*fed_)->state(), TlsState::kOpen);
    fed_->say("250 2.0.0 Ok\r\n");
    pass();
    while (stream_->read(piece, got) == TlsStatus::kWantInput && !side_.inward.empty()) {
    }
    ASSERT_EQ(std::string_view(piece.data(), got), "250 2.0.0 Ok\r\n") << round;
  }
  EXPECT_EQ(fed_->plaintext.size(), 50 * 6U);
}

TEST_F(KeyUpdates, AndDataAtEverySplit) {
  for (std::size_t first = 1; first < 50; ++first) {
    connect();  // the keys of one connection change only so often
    for (std::size_t second = 1; second < 30; ++second) {
      ASSERT_EQ(wolfSSL_update_keys(ssl_), WOLFSSL_SUCCESS);
      ASSERT_EQ(stream_->write("NOOP\r\n"), TlsStatus::kDone);
      fed_->plaintext.clear();
      fed_->feed(std::exchange(side_.outward, {}), {first, second, 16'384});
      side_.inward += fed_->sent();
      ASSERT_EQ(fed_->plaintext, "NOOP\r\n") << first << " and " << second;
    }
  }
}

TEST_F(KeyUpdates, WithoutEndAndUnreadEndTheConnection) {
  for (int i = 0; i < 20'000 && (*fed_)->state() == TlsState::kOpen; ++i) {
    ASSERT_EQ(wolfSSL_update_keys(ssl_), WOLFSSL_SUCCESS);
    fed_->feed(std::exchange(side_.outward, {}), {16'384});
  }
  EXPECT_EQ((*fed_)->state(), TlsState::kFailed);
  EXPECT_LE(fed_->sent().size(), 17 * OutputBlock::kBytes);
}

// ---- the invariants fire

MXRING_REVEAL(KeptOf, &TlsConnection::kept_);
MXRING_REVEAL(KeptBeginOf, &TlsConnection::kept_begin_);
MXRING_REVEAL(ChunksOf, &TlsConnection::chunks_);
MXRING_REVEAL(ChunkBytesOf, &TlsConnection::chunk_bytes_);
MXRING_REVEAL(RecordLeftOf, &TlsConnection::record_left_);
MXRING_REVEAL(StateOf, &TlsConnection::state_);
MXRING_REVEAL(ReadingOverOf, &TlsConnection::reading_over_);
MXRING_REVEAL(QueueHeadOf, &OutputQueue::head_);
MXRING_REVEAL(QueueTailOf, &OutputQueue::tail_);
MXRING_REVEAL(QueueBlocksOf, &OutputQueue::blocks_);

using TlsConnectionDeathTest = TlsConnectionTest;

TEST_F(TlsConnectionDeathTest, EachInvariantFires) {
  Fed fresh(*buffers_, server_);
  Fed open(*buffers_, server_);
  MemoryTransport side;
  const auto stream = connected(open, side, 16'384);
  const auto expect = [](Fed& fed, const char* condition, auto break_it) {
    fed->invariants();
    test::expect_fires(condition, [&] {
      break_it(*fed);
      fed->invariants();
    });
  };
  const Chunk ten_bytes{.buffer = 0, .begin = 0, .end = 10};
  expect(fresh, "kept_begin_ <= kept_.size()",
         [](TlsConnection& c) { c.*member_of(KeptBeginOf{}) = 5; });
  expect(open, "chunk.begin < chunk.end && chunk.end <= buffers_.options().buffer_bytes",
         [](TlsConnection& c) { (c.*member_of(ChunksOf{})).emplace_back(); });
  expect(open, "bytes == chunk_bytes_", [](TlsConnection& c) { c.*member_of(ChunkBytesOf{}) = 1; });
  expect(open, "record_left_ == 0", [](TlsConnection& c) { c.*member_of(RecordLeftOf{}) = 1; });
  expect(open, "kept_.empty() && chunks_.empty()", [](TlsConnection& c) {
    c.*member_of(ReadingOverOf{}) = true;
    c.*member_of(KeptOf{}) = "x";
  });
  expect(open, "stream_ == nullptr",
         [](TlsConnection& c) { c.*member_of(StateOf{}) = TlsState::kHello; });
  expect(fresh, "chunks_.empty()", [&](TlsConnection& c) {
    (c.*member_of(ChunksOf{})).push_back(ten_bytes);
    c.*member_of(ChunkBytesOf{}) = 10;
  });
  expect(fresh, "received() <= kHandshakeBytesMax",
         [](TlsConnection& c) { (c.*member_of(KeptOf{})).assign(1 << 20, 'x'); });
  expect(fresh, "stream_ != nullptr && stream_->refused() == TlsAlert::kNone",
         [](TlsConnection& c) { c.*member_of(StateOf{}) = TlsState::kOpen; });
  expect(fresh, "reading_over_",
         [](TlsConnection& c) { c.*member_of(StateOf{}) = TlsState::kFailed; });
}

TEST(OutputQueueDeathTest, EachInvariantFires) {
  OutputPool pool;
  OutputQueue queue(pool);
  queue.append(std::string(5000, 'x'));
  ASSERT_EQ(queue.blocks(), 2U);
  queue.invariants();
  const auto expect = [&queue](const char* condition, auto break_it) {
    test::expect_fires(condition, [&] {
      break_it();
      queue.invariants();
    });
  };
  OutputBlock* const head = queue.*member_of(QueueHeadOf{});
  expect("(head_ == nullptr) == (blocks_ == 0) && (tail_ == nullptr) == (blocks_ == 0)",
         [&] { queue.*member_of(QueueBlocksOf{}) = 0; });
  expect("block->sent <= block->filled && block->filled <= OutputBlock::kBytes",
         [&] { head->sent = head->filled + 1; });
  expect("block == head_ || block->sent == 0", [&] { head->next->sent = 1; });
  expect("block->next != nullptr || block == tail_",
         [&] { queue.*member_of(QueueTailOf{}) = head; });
}

}  // namespace
}  // namespace mxring::net
