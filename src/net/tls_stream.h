// TLS on one connection as a machine without a socket: ciphertext comes from and goes to a
// TlsTransport, plaintext from and to the caller's memory. Both sides of a connection use it, the
// server through TlsServer::accept(), the load generator through TlsClient::connect().
//
// Only whole records should be offered: wolfSSL keeps the beginning of a partial one in 17 KiB of
// memory of its own. net::TlsConnection sees to that on the server.
//
// Thread: one at a time. Failure: a status; the alert that says why has then been written already,
// and the stream is only good for being destroyed.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "net/record_cipher.h"
#include "net/tls_heap.h"

struct WOLFSSL;

namespace mxring::net {

class TlsTransport {
 public:
  // Received ciphertext, as much of it as fits and is there; 0 when there is none now.
  virtual std::size_t take(std::span<char> into) = 0;
  virtual void put(std::string_view ciphertext) = 0;

 protected:
  ~TlsTransport() = default;
};

enum class TlsStatus : std::uint8_t {
  kDone,
  kWantInput,
  kClosed,  // the peer said that it will send no more (close_notify)
  kFailed,
};

struct TlsFacts {
  std::string_view version;  // "TLSv1.3"
  std::string_view cipher;   // as IANA calls it, "TLS_AES_128_GCM_SHA256"
  // Of the key exchange, as IANA calls it, "x25519"; empty when there was none (a session resumed
  // in TLS 1.2).
  std::string_view group;
  bool resumed = false;
};

class TlsStream {
 public:
  // Takes over `ssl`, which has no callbacks set yet; `heap` has counted what it took to make.
  TlsStream(WOLFSSL* ssl, TlsTransport& transport, RecordRules::Side side, TlsHeap heap = {});
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // A step of the handshake with what has arrived.
  TlsStatus handshake();
  // Up to into.size() bytes of plaintext, of at most one record.
  TlsStatus read(std::span<char> into, std::size_t& got);
  // Plaintext that was decrypted but did not fit into the last read().
  bool has_plaintext() const;
  TlsStatus write(std::string_view plaintext);
  // Tells the peer that we will send no more.
  void close_notify();

  // For a transport that knows where records begin: whether the next one may come, by its header;
  // and that it is given to the stream now. Refused once, nothing is read any more, and
  // send_refusal() tells the peer why, if wolfSSL has not done so.
  TlsAlert header(std::uint8_t type, std::size_t body_bytes);
  TlsAlert begin_record(std::uint8_t type, std::size_t body_bytes);
  TlsAlert refused() const { return rules_.refused(); }
  void send_refusal();

  TlsFacts facts() const;               // after the handshake
  int error() const { return error_; }  // wolfSSL's, of the call that failed
  std::string error_text() const;
  // Memory of this stream: what wolfSSL allocated for it, and expanded keys.
  std::size_t bytes_held() const { return sizeof *this + heap_.bytes() + keys_.bytes_held(); }

 private:
  TlsStatus status_of(int result);
  void learn_version();
  static int on_receive(WOLFSSL* ssl, char* into, int size, void* context);
  static int on_send(WOLFSSL* ssl, char* from, int size, void* context);

  WOLFSSL* ssl_;
  TlsTransport& transport_;
  TlsHeap heap_;
  RecordKeys keys_;
  RecordRules rules_;
  bool hello_begun_ = false;  // the peer's first record; the version is known from the next on
  int error_ = 0;
};

}  // namespace mxring::net
