// The server's side of TLS between a connection's receive buffers and its parser. Whole records are
// decrypted into buffers of the same pool, so that what follows cannot tell the difference; replies
// wait as plaintext until the connection sends, and go out as one record.
//
// Memory: before a whole ClientHello is here, only its bytes; during the handshake, wolfSSL's state
// (60 KiB, from the first step on) and the bytes not read yet. While a step waits for its turn
// these are 32 KiB as a rule: with more than a record (16 KiB) here, the owner stops receiving and
// TCP keeps the rest. A long hello, or much that comes at once, makes it 64 KiB at the very most.
// When the step is done less than a record is left. After the handshake, a record that has begun to
// arrive stays in its receive buffers, at most four, however small the pieces are, or, while it is
// small, in a string of its own, so that a dribbling client holds little.
//
// Thread: the shard's. Failure: TlsState::kFailed; the alert is in the output already.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/client_hello.h"
#include "net/output_pool.h"
#include "net/tls_server.h"
#include "net/tls_stream.h"
#include "uring/buffer_pool.h"

namespace mxring::net {

// Received bytes that nobody has parsed yet.
struct Chunk {
  uring::BufferId buffer = 0;
  std::uint32_t begin = 0;
  std::uint32_t end = 0;
};

enum class TlsState : std::uint8_t {
  kHello,  // no whole ClientHello yet
  kHandshake,
  kOpen,
  kClosed,  // the peer will send no more
  kFailed,  // nothing that comes is read any more
};

class TlsConnection final : private TlsTransport {
 public:
  TlsConnection(std::shared_ptr<const TlsServer> server, uring::BufferPool& buffers,
                OutputPool& outputs, OutputQueue& output);
  TlsConnection(const TlsConnection&) = delete;
  TlsConnection& operator=(const TlsConnection&) = delete;
  ~TlsConnection();

  TlsState state() const { return state_; }

  // Takes over the reference to a received buffer.
  void add(const Chunk& chunk);
  // Something has arrived that a handshake step can use.
  bool handshake_ready();
  // A step has more than it needs: receive nothing until it was taken.
  bool handshake_full() const;
  // Costs up to a private-key operation.
  TlsState handshake();

  // Appends what can be decrypted to `chunks`. False: no buffer was free, call again later.
  bool decrypt(std::vector<Chunk>& chunks);
  // Lets go of everything received, and of everything that will be.
  void stop_reading();

  // Plaintext to send, as Connection::output() and wrote().
  std::span<char> room();
  void wrote(std::size_t n) { plain_.wrote(n); }
  bool has_unsent() const { return plain_.has_unsent() && state_ != TlsState::kFailed; }
  // Encrypts it into the connection's output.
  void seal();
  void close_notify();

  TlsFacts facts() const { return stream_->facts(); }
  const ClientHello& hello() const { return hello_; }
  std::string error_text() const;
  // Decrypted into other memory; and, after the handshake, moved out of a receive buffer because
  // the record came in small pieces.
  std::uint64_t bytes_copied() const { return bytes_copied_; }
  // On the heap, without wolfSSL's state and receive buffers.
  std::size_t memory_bytes() const { return kept_.capacity() + chunks_.capacity() * sizeof(Chunk); }
  // Memory of this connection's TLS outside of receive buffers: wolfSSL's state, bytes kept,
  // replies that wait to be encrypted; and the receive buffers that a record holds which is not
  // whole yet.
  std::size_t heap_held() const;
  std::size_t buffers_held() const { return chunks_.size(); }
  // What holds between two calls: bytes are read from kept_ first, then from the chunks; the stream
  // has never taken a part of a record; of what is over nothing is held.
  void invariants() const;

 private:
  std::size_t take(std::span<char> into) override;
  void put(std::string_view ciphertext) override;

  std::size_t received() const { return kept_.size() - kept_begin_ + chunk_bytes_; }
  std::size_t peek(std::span<char> into) const;
  struct Header {
    bool here = false;
    std::uint8_t type = 0;
    std::size_t body_bytes = 0;
  };
  Header next_header() const;
  bool record_here() const;
  std::size_t begin_record();
  void keep_small_rest();
  void keep_rest();
  void keep(std::string_view bytes);
  void trim_kept();
  void join_last_chunks();
  void read_hello();
  TlsState fail(TlsAlert alert);
  bool refused();

  std::shared_ptr<const TlsServer> server_;
  uring::BufferPool& buffers_;
  OutputQueue& output_;
  OutputQueue plain_;
  ClientHello hello_;
  std::unique_ptr<TlsStream> stream_;  // looks at the hello for as long as it lives
  // Received and not read by the stream yet: first kept_, then the chunks.
  std::string kept_;
  std::size_t kept_begin_ = 0;
  std::vector<Chunk> chunks_;
  std::size_t chunk_bytes_ = 0;
  // Of the record that the stream is reading. It is given whole records only: after a part of one,
  // nobody here could tell where the next begins.
  std::size_t record_left_ = 0;
  std::uint64_t bytes_copied_ = 0;
  TlsState state_ = TlsState::kHello;
  bool notified_ = false;
  bool reading_over_ = false;  // stop_reading() was called: what comes is dropped
};

}  // namespace mxring::net
