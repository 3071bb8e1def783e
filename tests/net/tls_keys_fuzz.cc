// A client that has its keys says anything at any time. The input is a program for it: the first
// byte chooses version, cipher and whether libipsec-mb is used, and then each operation makes one
// record, honest or not, or cuts the stream:
//
//   byte & 15: what (see kOperations), byte >> 4 and the bytes after it: its parameters
//
// Whatever comes, the server may only refuse: memory is as it was when it is over (ASan), what the
// session sees is what was sealed as data, in order and nothing else, and no buffer is lost.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "net/record_cipher.h"
#include "net/tls_connection.h"
#include "tests/net/keyed_client.h"
#include "uring/ring.h"

namespace {

using namespace mxring;
using namespace mxring::net;

struct World {
  std::optional<uring::Ring> ring;
  std::optional<uring::BufferPool> buffers;
  std::shared_ptr<const TlsServer> server;
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
  }
};

// The input, byte by byte; zeros once it is used up.
class Program {
 public:
  explicit Program(std::string_view bytes) : bytes_(bytes) {}
  bool done() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    const auto value = static_cast<std::uint8_t>(bytes_[0]);
    bytes_.remove_prefix(1);
    return value;
  }
  std::string text(std::size_t n) {
    const std::string taken(bytes_.substr(0, n));
    bytes_.remove_prefix(taken.size());
    return taken;
  }

 private:
  std::string_view bytes_;
};

class Dialogue {
 public:
  Dialogue(World& world, KeyedClient::Options options)
      : world_(world),
        tls13_(options.version == 13),
        client_(options),
        output_(outputs_),
        tls_(world.server, *world.buffers, outputs_, output_) {}

  void run(Program& program) {
    while (!program.done() && operations_ < kOperationsMax && !over()) {
      ++operations_;
      const std::uint8_t code = program.byte();
      operate(code & 15U, code >> 4U, program);
      if (piece_ == 0) flush();
    }
    flush();
    // Data that was refused is not heard; what was heard was said, in this order.
    MXRING_ASSERT(said_.starts_with(heard_));
  }

 private:
  static constexpr int kOperationsMax = 200;
  static constexpr std::size_t kTextMax = 17'000;

  bool over() const {
    return tls_.state() == TlsState::kFailed || tls_.state() == TlsState::kClosed;
  }

  void operate(unsigned what, unsigned how, Program& program) {
    switch (what) {
      case 0:
        if (!greeted_) pending_ += client_.hello();
        greeted_ = true;
        flush();
        break;
      case 1:
        finish(how, program);
        break;
      case 2:
        if (keyed()) say(text(how, program), 0);
        break;
      case 3:
        if (keyed()) say(text(how, program), program.byte() * (how + 1U));  // padded
        break;
      case 4:
        if (keyed()) seal(text(how, program), 23);
        break;
      case 5:
        if (keyed()) seal(text(how, program), program.byte());
        break;
      case 6:
        pending_ += KeyedClient::clear(static_cast<std::uint8_t>(18 + how), program.text(how * 4U));
        break;
      case 7:
        if (keyed()) pending_ += client_.alert(static_cast<std::uint8_t>(how), program.byte());
        break;
      case 8:
        if (keyed() && tls13_) pending_ += client_.key_update((how & 1U) != 0);
        break;
      case 9:
        if (keyed()) handshake_message(how, program);
        break;
      case 10:  // a header, and less or more than it says
        pending_ +=
            std::string{static_cast<char>(20 + how % 4), 3, 3, static_cast<char>(program.byte()),
                        static_cast<char>(program.byte())};
        pending_ += program.text(program.byte());
        break;
      case 11:
        piece_ = how * 5U;
        break;
      case 12:
        damage(how, program);
        break;
      case 13:
        if (keyed()) seal(std::string(how, '\0'), 23);
        break;
      case 14:
        flush();
        break;
      default:
        pending_ += program.text(how);
        break;
    }
  }

  bool keyed() {
    if (!client_.ready()) return false;
    if (!tls13_ && !exchanged_) {
      pending_ += client_.key_exchange();
      exchanged_ = true;
    }
    return true;
  }

  void finish(unsigned how, Program& program) {
    if (finished_ || !keyed()) return;
    finished_ = true;
    if (!tls13_) {
      if (how != 1) pending_ += client_.change_cipher();
      pending_ += client_.finished_record();
      return;
    }
    const std::string message = client_.finished_message();
    const std::size_t cut = how == 0 ? message.size() : program.byte() % message.size();
    pending_ += client_.seal(message.substr(0, cut) + '\x16');
    if (cut < message.size()) pending_ += client_.seal(message.substr(cut) + '\x16');
    if (how != 15) client_.switch_keys();
  }

  std::string text(unsigned how, Program& program) {
    if (how < 12) return program.text(how * 3U);
    const std::size_t bytes = how == 15 ? 16'370 + program.byte() % 32U : program.byte() * 64U;
    return std::string(std::min(bytes, kTextMax), static_cast<char>('a' + how));
  }

  void say(const std::string& text, std::size_t padding) {
    seal(tls13_ ? text + '\x17' + std::string(padding, '\0') : text, 23);
  }

  // Whatever it is; it may be data.
  void seal(const std::string& inner, std::uint8_t outer_type) {
    pending_ += client_.seal(inner, outer_type);
    if (outer_type != 23) return;
    if (!tls13_) {
      said_ += inner;
      return;
    }
    const std::size_t type_at = inner.find_last_not_of('\0');
    if (type_at != std::string::npos && inner[type_at] == '\x17') said_.append(inner, 0, type_at);
  }

  void handshake_message(unsigned how, Program& program) {
    constexpr std::array<unsigned char, 16> kTypes{0,  1,  2,  4,  5,  8,  11, 13,
                                                   14, 15, 16, 20, 22, 24, 67, 254};
    std::string message;
    message += static_cast<char>(kTypes[how]);
    message += program.text(3 + program.byte() % 64U);
    pending_ += tls13_ ? client_.seal(message + '\x16') : client_.seal(message, 22);
  }

  void damage(unsigned how, Program& program) {
    if (pending_.empty()) return;
    const std::size_t at = (program.byte() + how * 256U) % pending_.size();
    pending_[at] = static_cast<char>(pending_[at] ^ (program.byte() | 1));
    // What was sealed there may not be opened any more.
    damaged_ = true;
  }

  void flush() {
    std::string out;
    out.swap(pending_);
    std::string_view rest = out;
    while (!rest.empty()) {
      const std::size_t size = std::min<std::size_t>(rest.size(), piece_ == 0 ? 16'384 : piece_);
      receive(rest.substr(0, size));
      rest.remove_prefix(size);
    }
  }

  void receive(std::string_view bytes) {
    Chunk chunk;
    MXRING_ASSERT(world_.buffers->take(&chunk.buffer));
    std::memcpy(world_.buffers->data(chunk.buffer), bytes.data(), bytes.size());
    chunk.end = static_cast<std::uint32_t>(bytes.size());
    tls_.add(chunk);
    // As many steps as there are bytes at the most.
    for (int steps = 0; tls_.handshake_ready() && tls_.state() == TlsState::kHandshake; ++steps) {
      MXRING_ASSERT(steps < 40'000);
      tls_.handshake();
    }
    if (tls_.state() == TlsState::kOpen || tls_.state() == TlsState::kClosed) {
      std::vector<Chunk> chunks;
      MXRING_ASSERT(tls_.decrypt(chunks));
      for (const Chunk& part : chunks) {
        heard_.append(world_.buffers->data(part.buffer) + part.begin, part.end - part.begin);
        world_.buffers->release(part.buffer);
      }
    }
    tls_.invariants();
    MXRING_ASSERT(tls_.heap_held() < 256 * 1024);
    std::string answer;
    while (output_.has_unsent()) {
      const std::string_view piece = output_.unsent();
      answer += piece;
      output_.sent(piece.size());
    }
    // After damage its view of the handshake is another than the server's.
    if (!damaged_ || client_.ready()) client_.receive(answer);
  }

  World& world_;
  bool tls13_;
  KeyedClient client_;
  OutputPool outputs_;
  OutputQueue output_;
  TlsConnection tls_;
  std::string pending_;  // made, and not sent yet
  std::string said_;
  std::string heard_;
  std::size_t piece_ = 0;
  int operations_ = 0;
  bool greeted_ = false;
  bool exchanged_ = false;
  bool finished_ = false;
  bool damaged_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  if (!world.buffers || size < 2) return 0;
  Program program({reinterpret_cast<const char*>(data), size});
  const std::uint8_t kind = program.byte();
  use_fast_gcm((kind & 4U) == 0);
  {
    Dialogue dialogue(
        world, {.version = (kind & 1U) != 0 ? 12 : 13, .chacha = (kind & 3U) == 3, .seed = kind});
    dialogue.run(program);
  }
  MXRING_ASSERT(world.buffers->free_buffers() == world.free);
  return 0;
}
