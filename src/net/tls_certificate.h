// A certificate chain with its private key, as PEM text: read from files, or made up on the spot.
//
// Thread: any. Failure: one line that names the file, what is wrong with it and what to do.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "net/certificate_key.h"

namespace mxring::net {

struct TlsError {
  std::string message;
};

struct TlsCertificate {
  std::string chain_pem;  // the server's own first
  std::string key_pem;
  std::string source;  // for messages: the certificate's file, or "self-signed"

  // Filled by inspect():
  std::vector<std::string> names;  // lower case; "*.example.org" among them
  std::int64_t not_before_s = 0;   // Unix time
  std::int64_t not_after_s = 0;
  CertificateKey key = CertificateKey::kUnknown;

  ~TlsCertificate();
  TlsCertificate() = default;
  TlsCertificate(const TlsCertificate&) = default;
  TlsCertificate(TlsCertificate&&) noexcept = default;
  TlsCertificate& operator=(const TlsCertificate&) = default;
  TlsCertificate& operator=(TlsCertificate&&) noexcept = default;
};

// Reads and inspects both files (one file may hold both). Whether the key belongs to the
// certificate is found when TlsServer takes them.
std::expected<TlsCertificate, TlsError> read_certificate(const std::string& certificate_file,
                                                         const std::string& key_file);
// Fills what can be known from the PEM text.
std::expected<void, TlsError> inspect(TlsCertificate& certificate);
// Whether an ECDSA key makes the public key in its certificate. wolfSSL's own check takes any key
// of the curve; for RSA it compares.
bool ecdsa_key_matches(const TlsCertificate& certificate);
// For a server that was given none: ECDSA P-256 (or RSA, 2048 bits, which takes a fraction of a
// second), ten years. Clients that check certificates will not accept it; most mail servers do not
// check, and encrypt all the same (RFC 7435).
std::expected<TlsCertificate, TlsError> make_certificate(
    std::string_view hostname, CertificateKey kind = CertificateKey::kP256);

// Whether a name in a certificate covers the name asked for; a "*" stands for one whole label on
// the left (RFC 6125 6.4.3). Both in lower case.
bool covers(std::string_view certificate_name, std::string_view name);

// One line when the certificate is expired, not yet valid, or ends within two weeks; else "".
std::string validity_warning(const TlsCertificate& certificate, base::WallTime now);

}  // namespace mxring::net
