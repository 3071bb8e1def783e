// One TCP connection on its shard's ring: received chunks waiting to be parsed, replies waiting to
// be sent, and the order in which operations are wound up before the descriptor is closed.
//
// Ownership: a chunk holds one reference to its receive buffer until it is consumed. Whoever keeps
// bytes of it longer takes a reference of its own (BufferPool::add_ref). Replies are written into a
// block of the shard's OutputPool, held from the first byte written to the last byte sent.
//
// After start_tls() the same functions take and give plaintext; what is sent is encrypted in
// flush(), what is received is decrypted in on_receive().
//
// Half-closing is a direct shutdown(2): on a ring the kernel hands it to a worker thread, which
// looks the descriptor up later, when it may be closed and belong to another connection.
//
// Thread: the shard's. Failure: a dead peer is an outcome of on_receive() or on_send(), never an
// exception; the owner then calls shut() and frees the connection once closed().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "net/output_pool.h"
#include "net/tls_connection.h"
#include "uring/buffer_pool.h"
#include "uring/ring.h"

namespace mxring::net {

enum class ReceiveOutcome : std::uint8_t {
  kData,       // a chunk was queued; under TLS maybe none yet
  kEndOfFile,  // the peer will send no more
  kStarved,    // no receive buffer was free: resume_receiving() once there is
  kStopped,    // the receive ended because it was paused or the connection is being shut
  kBroken,     // reset by the peer or another error
  kHandshake,  // bytes of a TLS handshake: look at handshake_ready()
  kUntrusted,  // what came is not what TLS sent; an alert waits to be sent, nothing more is read
};

class Connection {
 public:
  struct Context {
    uring::Ring& ring;
    uring::BufferPool& buffers;
    OutputPool& outputs;
  };
  static constexpr std::uint16_t kBufferGroup = 0;

  Connection(Context& context, int fd, std::uint32_t slot, std::uint32_t generation);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // Receiving. Paused connections leave their bytes in the kernel, which is what slows the sender.
  void resume_receiving();
  void pause_receiving();
  bool sending() const { return send_in_flight_; }
  bool receive_armed() const { return receive_armed_; }
  ReceiveOutcome on_receive(const uring::Completion& completion);

  // Unparsed input. front_bytes() is a view into the front chunk's buffer.
  std::size_t chunks() const { return chunks_.size() - front_; }
  const Chunk& front() const { return chunks_[front_]; }
  std::string_view front_bytes() const;
  // Drops n parsed bytes from the front chunk; true when that chunk is used up and was released.
  bool consume(std::size_t n);
  void drop_input();

  // The server's side of TLS from here on: what was received and neither consumed nor dropped is
  // its beginning; what was written in the clear is sent before.
  void start_tls(std::shared_ptr<const TlsServer> server);
  bool has_tls() const { return tls_ != nullptr; }
  const TlsConnection& tls() const { return *tls_; }
  // Enough has arrived for a step of the handshake, which takes up to the time of a private-key
  // operation.
  bool handshake_ready() { return tls_->handshake_ready(); }
  bool handshake_full() const { return tls_->handshake_full(); }
  TlsState handshake() { return tls_->handshake(); }
  // Bytes that wait for a free buffer, or came after the handshake, become chunks. False: there
  // was no buffer again.
  bool decrypt();
  bool decrypt_starved() const { return decrypt_starved_; }

  // Sending. output() lends the free part of the block; wrote() says how much of it was filled.
  std::span<char> output();
  void wrote(std::size_t n);
  bool has_unsent() const;
  bool send_in_flight() const { return send_in_flight_; }
  // Hands everything written so far to the ring, unless a send is in flight already.
  void flush();
  // False when the peer is gone. Bytes written meanwhile, or not taken, wait for the next flush().
  bool on_send(const uring::Completion& completion);

  // Winding up. end_tls() tells the peer that nothing will follow what was written, before the
  // last flush(). finish_sending() closes our half and lets the peer read the last reply; shut()
  // ends what is in flight. Either may be called once; later calls change nothing.
  void end_tls();
  void finish_sending();
  void shut();
  bool shutting() const { return shut_; }
  // After shut(): no operation of ours is in flight, so the descriptor was given to close and the
  // object may be freed. Call after each completion.
  bool try_close();

  // Memory that this connection holds now, for the limit on it: receive buffers of input that
  // nobody has parsed or decrypted yet (each counts whole, however little is in it), blocks of
  // replies that the peer does not read, and all of TLS. Bytes of a message that was parsed belong
  // to who took a reference to their buffer.
  std::size_t bytes_held() const { return buffers_held() * buffer_bytes() + heap_held(); }
  std::size_t buffers_held() const;
  std::size_t heap_held() const;

  // What holds between two calls.
  void invariants() const;

  int fd() const { return fd_; }
  std::uint64_t bytes_received() const { return bytes_received_; }
  std::uint64_t bytes_sent() const { return bytes_sent_; }
  bool end_of_file() const { return end_of_file_; }

 private:
  ReceiveOutcome on_ciphertext(const Chunk& chunk);
  std::size_t buffer_bytes() const { return context_.buffers.options().buffer_bytes; }
  uring::Tag tag(uring::Operation operation) const { return {operation, generation_, slot_}; }

  Context& context_;
  int fd_;
  std::uint32_t slot_;
  std::uint32_t generation_;
  std::vector<Chunk> chunks_;  // chunks_[front_...] are live; memory is kept
  std::size_t front_ = 0;
  OutputQueue output_;
  std::unique_ptr<TlsConnection> tls_;
  std::uint64_t bytes_received_ = 0;
  std::uint64_t bytes_sent_ = 0;
  bool receive_armed_ = false;
  bool cancel_sent_ = false;
  bool send_in_flight_ = false;
  bool half_closed_ = false;
  bool shut_ = false;
  bool end_of_file_ = false;
  bool decrypt_starved_ = false;
};

}  // namespace mxring::net
