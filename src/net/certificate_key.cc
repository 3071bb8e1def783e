#include "net/certificate_key.h"

#include <cstddef>

namespace mxring::net {

namespace {

using namespace std::string_view_literals;

constexpr unsigned char kInteger = 0x02;
constexpr unsigned char kOid = 0x06;
constexpr unsigned char kSequence = 0x30;
constexpr unsigned char kVersion = 0xA0;  // [0], explicit

struct Name {
  std::string_view oid;
  CertificateKey key;
};
constexpr Name kAlgorithms[] = {
    {"\x2A\x86\x48\x86\xF7\x0D\x01\x01\x01"sv, CertificateKey::kRsa},
    {"\x2A\x86\x48\x86\xF7\x0D\x01\x01\x0A"sv, CertificateKey::kRsaPss},
    {"\x2B\x65\x70"sv, CertificateKey::kEd25519},
    {"\x2B\x65\x71"sv, CertificateKey::kEd448},
};
constexpr std::string_view kEcPublicKey = "\x2A\x86\x48\xCE\x3D\x02\x01"sv;
constexpr Name kCurves[] = {
    {"\x2A\x86\x48\xCE\x3D\x03\x01\x07"sv, CertificateKey::kP256},
    {"\x2B\x81\x04\x00\x22"sv, CertificateKey::kP384},
    {"\x2B\x81\x04\x00\x23"sv, CertificateKey::kP521},
};

struct Element {
  unsigned char tag = 0;
  std::string_view content;
};

// Takes the next element off the front; one with tag 0 when there is none.
Element next(std::string_view& der) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(der[i]); };
  if (der.size() < 2) return {};
  std::size_t header = 2;
  std::size_t length = byte(1);
  if (length > 0x80) {
    const std::size_t bytes = length & 0x7F;
    if (bytes > 3 || der.size() < 2 + bytes) return {};
    length = 0;
    for (std::size_t i = 0; i < bytes; ++i) length = length << 8 | byte(2 + i);
    header += bytes;
  }
  if (length > der.size() - header) return {};
  const Element element{byte(0), der.substr(header, length)};
  der.remove_prefix(header + length);
  return element;
}

}  // namespace

CertificateKey certificate_key(std::string_view der) {
  std::string_view certificate = next(der).content;
  std::string_view signed_part = next(certificate).content;
  Element element = next(signed_part);
  if (element.tag == kVersion) element = next(signed_part);
  if (element.tag != kInteger) return CertificateKey::kUnknown;  // the serial number
  // Signature algorithm, issuer, validity, subject; then the key.
  for (int i = 0; i < 4; ++i) next(signed_part);
  const Element info = next(signed_part);
  std::string_view rest = info.content;
  const Element algorithm = next(rest);
  if (info.tag != kSequence || algorithm.tag != kSequence) return CertificateKey::kUnknown;
  std::string_view parts = algorithm.content;
  const Element oid = next(parts);
  if (oid.tag != kOid) return CertificateKey::kUnknown;
  for (const Name& known : kAlgorithms) {
    if (known.oid == oid.content) return known.key;
  }
  if (oid.content != kEcPublicKey) return CertificateKey::kUnknown;
  const Element curve = next(parts);
  for (const Name& known : kCurves) {
    if (curve.tag == kOid && known.oid == curve.content) return known.key;
  }
  return CertificateKey::kOtherCurve;
}

bool usable(CertificateKey key) {
  return key == CertificateKey::kRsa || is_ecdsa(key);
}

bool is_ecdsa(CertificateKey key) {
  return key == CertificateKey::kP256 || key == CertificateKey::kP384 ||
         key == CertificateKey::kP521;
}

std::string_view name_of(CertificateKey key) {
  switch (key) {
    case CertificateKey::kRsa:
      return "RSA";
    case CertificateKey::kP256:
      return "ECDSA P-256";
    case CertificateKey::kP384:
      return "ECDSA P-384";
    case CertificateKey::kP521:
      return "ECDSA P-521";
    case CertificateKey::kOtherCurve:
      return "ECDSA, on a curve that TLS clients do not know";
    case CertificateKey::kRsaPss:
      return "RSASSA-PSS";
    case CertificateKey::kEd25519:
      return "Ed25519";
    case CertificateKey::kEd448:
      return "Ed448";
    case CertificateKey::kUnknown:
      break;
  }
  return "unknown";
}

}  // namespace mxring::net
