// What kind of key a certificate is for (RFC 5280 4.1.2.7): the library says it of the kinds it
// knows, and of others only that the certificate is damaged.
//
// Pure. Failure: kUnknown, for what is no certificate or a kind that nobody uses.
#pragma once

#include <cstdint>
#include <string_view>

namespace mxring::net {

enum class CertificateKey : std::uint8_t {
  kRsa,
  kP256,
  kP384,
  kP521,
  // Of these none can be used here.
  kOtherCurve,
  kRsaPss,  // id-RSASSA-PSS (RFC 4055): not rsaEncryption, with which PSS signatures are made, too
  kEd25519,
  kEd448,
  kUnknown,
};

CertificateKey certificate_key(std::string_view der);
bool usable(CertificateKey key);
bool is_ecdsa(CertificateKey key);
// "Ed25519"
std::string_view name_of(CertificateKey key);

}  // namespace mxring::net
