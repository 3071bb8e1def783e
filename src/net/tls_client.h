// The client's side of TLS, for the load generator and for mail on its way out. Certificates are
// checked only when asked for: a load test talks to a machine of one's own, and between mail
// servers unchecked encryption is better than none (RFC 7435).
//
// Immutable once made, shared by threads. Failure: one line.
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "net/tls_certificate.h"
#include "net/tls_stream.h"

struct WOLFSSL_CTX;

namespace mxring::net {

class TlsClient {
 public:
  struct Options {
    std::string authorities_file;  // PEM; empty: any certificate will do
    std::string server_name;       // sent as SNI, and checked against the certificate
  };
  static std::expected<std::shared_ptr<const TlsClient>, TlsError> create(const Options& options);
  ~TlsClient();
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  // Null when there is no memory for it.
  std::unique_ptr<TlsStream> connect(TlsTransport& transport) const {
    return connect(transport, options_.server_name);
  }
  // For a server with another name than the one in the options.
  std::unique_ptr<TlsStream> connect(TlsTransport& transport, const std::string& server_name) const;

 private:
  TlsClient() = default;
  WOLFSSL_CTX* context_ = nullptr;
  Options options_;
};

}  // namespace mxring::net
