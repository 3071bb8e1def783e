// The server's side of TLS: certificates, what is allowed, and which certificate a client gets.
// TLS 1.2 and 1.3 (RFC 8996), ECDHE with AEAD ciphers only; no renegotiation, no early data, no
// compression, no client certificates. Sessions resume by tickets only; nothing is kept here.
//
// Immutable once loaded and shared by all shards: a reload makes a new one, connections keep the
// one they began with. Thread: any. Failure: load() says in one line what is wrong.
#pragma once

#include <cstdint>
#include <expected>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "net/client_hello.h"
#include "net/tls_certificate.h"
#include "net/tls_stream.h"
#include "net/tls_ticket_keys.h"

struct WOLFSSL_CTX;

namespace mxring::net {

class TlsServer {
 public:
  struct Options {
    // The first one is for clients that ask for no name or for one that nobody here has. Some
    // with different kinds of key may stand side by side for the same name.
    std::vector<TlsCertificate> certificates;
    bool tls12 = true;                           // else 1.3 only
    std::shared_ptr<TlsTicketKeys> ticket_keys;  // none: no tickets
    // For clients that can check no certificate of these but one with an RSA key; made when the
    // first of them comes, maybe. Null: there is none.
    std::shared_future<std::shared_ptr<const TlsServer>> for_rsa_only = {};
  };

  static std::expected<std::shared_ptr<const TlsServer>, TlsError> load(const Options& options);
  ~TlsServer();
  TlsServer(const TlsServer&) = delete;
  TlsServer& operator=(const TlsServer&) = delete;

  // A stream for the client that said this hello; nullptr when there is no memory for it. The
  // hello's bytes are still to be read from the transport. `hello` stays where it is for as long as
  // the stream lives: tickets are for the name in it.
  std::unique_ptr<TlsStream> accept(const ClientHello& hello, TlsTransport& transport) const;

  // Index of the certificate this client gets.
  std::size_t choose(const ClientHello& hello) const;

 private:
  struct Identity {
    WOLFSSL_CTX* context = nullptr;
    std::vector<std::string> names;
    CertificateKey key = CertificateKey::kUnknown;
    bool like_first = false;  // shares a name with the first: stands beside it for any client
  };

  TlsServer() = default;
  std::expected<void, TlsError> add(const TlsCertificate& certificate, const Options& options);

  std::vector<Identity> identities_;
  std::shared_ptr<TlsTicketKeys> ticket_keys_;
  std::shared_future<std::shared_ptr<const TlsServer>> for_rsa_only_;
};

}  // namespace mxring::net
