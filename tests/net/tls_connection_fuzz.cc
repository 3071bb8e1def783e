// Bytes of a client in random pieces against a TLS server: first the input as it is, then, under a
// real handshake, the input changes what the client sends. The last two bytes choose the pieces.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "net/tls_client.h"
#include "net/tls_connection.h"
#include "uring/ring.h"

namespace {

using namespace mxring;
using namespace mxring::net;

struct Side final : TlsTransport {
  std::string inward;
  std::string outward;
  std::size_t take(std::span<char> into) override {
    const std::size_t n = std::min(into.size(), inward.size());
    std::copy_n(inward.begin(), n, into.begin());
    inward.erase(0, n);
    return n;
  }
  void put(std::string_view ciphertext) override { outward += ciphertext; }
};

struct World {
  std::optional<uring::Ring> ring;
  std::optional<uring::BufferPool> buffers;
  std::shared_ptr<const TlsServer> server;
  std::shared_ptr<const TlsClient> client;
  std::uint32_t free = 0;

  World() {
    auto made = uring::Ring::create({}, nullptr);
    if (!made) return;
    ring.emplace(std::move(*made));
    auto pool = uring::BufferPool::create(
        *ring, {.group = 0, .buffer_bytes = 16 * 1024, .buffers = 32, .offered = 8});
    MXRING_ASSERT(pool.has_value());
    buffers.emplace(std::move(*pool));
    free = buffers->free_buffers();
    auto certificate = make_certificate("mx.example");
    MXRING_ASSERT(certificate.has_value());
    server = *TlsServer::load(
        {.certificates = {*certificate},
         .tls12 = true,
         .ticket_keys = std::make_shared<TlsTicketKeys>(3600 * base::kNsPerSecond)});
    client = *TlsClient::create({});
  }
};

class Fed {
 public:
  explicit Fed(World& world)
      : world_(world), output_(outputs_), tls_(world.server, *world.buffers, outputs_, output_) {}

  void feed(std::string_view bytes, std::uint32_t& random) {
    while (!bytes.empty()) {
      random = random * 1664525U + 1013904223U;
      const std::size_t limit = (random >> 8) % 3 == 0 ? 8 : 4096;
      const std::size_t size = std::min<std::size_t>(bytes.size(), 1 + (random >> 16) % limit);
      Chunk chunk;
      MXRING_ASSERT(world_.buffers->take(&chunk.buffer));
      std::memcpy(world_.buffers->data(chunk.buffer), bytes.data(), size);
      chunk.end = static_cast<std::uint32_t>(size);
      bytes.remove_prefix(size);
      tls_.add(chunk);
      while (tls_.handshake_ready() && tls_.state() == TlsState::kHandshake) tls_.handshake();
      std::vector<Chunk> chunks;
      MXRING_ASSERT(tls_.decrypt(chunks));
      for (const Chunk& part : chunks) {
        plaintext.append(world_.buffers->data(part.buffer) + part.begin, part.end - part.begin);
        world_.buffers->release(part.buffer);
      }
    }
  }
  std::string sent() {
    std::string out;
    while (output_.has_unsent()) {
      const std::string_view piece = output_.unsent();
      out += piece;
      output_.sent(piece.size());
    }
    return out;
  }
  TlsConnection& tls() { return tls_; }
  std::string plaintext;

 private:
  World& world_;
  OutputPool outputs_;
  OutputQueue output_;
  TlsConnection tls_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  if (!world.buffers || size < 4) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data), size - 2);
  std::uint32_t random = data[size - 1] * 256U + data[size - 2];
  {
    Fed fed(world);
    fed.feed(bytes, random);
    MXRING_ASSERT(fed.plaintext.empty());  // nobody knows the keys
  }
  {
    // {which flight, where, what} and then bytes in the place of records.
    Fed fed(world);
    Side side;
    const auto client = world.client->connect(side);
    const unsigned flight_to_change = bytes[0] & 3U;
    for (unsigned flight = 0; flight < 3; ++flight) {
      const TlsStatus status = client->handshake();
      std::string out = std::exchange(side.outward, {});
      if (flight == flight_to_change && !out.empty()) {
        const std::size_t at = static_cast<std::uint8_t>(bytes[1]) * out.size() / 256;
        out[at] = static_cast<char>(out[at] ^ bytes[0]);
      }
      fed.feed(out, random);
      side.inward += fed.sent();
      if (status == TlsStatus::kFailed) break;
    }
    if (fed.tls().state() == TlsState::kOpen) {
      const bool good = client->write("NOOP\r\n") == TlsStatus::kDone;
      fed.feed(std::exchange(side.outward, {}), random);
      MXRING_ASSERT(!good || fed.plaintext == "NOOP\r\n");
      fed.feed(bytes, random);
      MXRING_ASSERT(!good || fed.plaintext == "NOOP\r\n");
    }
  }
  MXRING_ASSERT(world.buffers->free_buffers() == world.free);
  return 0;
}
