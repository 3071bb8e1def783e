// A private key that signs: RSA (PKCS #1 v1.5 with SHA-256) or Ed25519, over wolfCrypt. Made, read
// from and written as PEM (PKCS #8; RSA also from PKCS #1 "RSA PRIVATE KEY").
//
// Thread: one at a time per object. Ownership: the secret is wiped when the object goes. Failure: a
// message that says what is wrong and never shows the secret.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "crypto/sha256.h"

namespace mxring::crypto {

enum class KeyType : std::uint8_t { kRsa, kEd25519 };

class PrivateKey {
 public:
  // 1024 to 4096 bits, a multiple of 16.
  static std::expected<PrivateKey, std::string> generate_rsa(std::uint32_t bits);
  static std::expected<PrivateKey, std::string> generate_ed25519();
  static std::expected<PrivateKey, std::string> from_pem(std::string_view pem);
  PrivateKey(PrivateKey&&) noexcept;
  PrivateKey& operator=(PrivateKey&&) noexcept;
  ~PrivateKey();

  KeyType type() const;
  std::uint32_t bits() const;  // of an RSA modulus; 256 for Ed25519
  std::string to_pem() const;  // PKCS #8
  // For a DNS record's p= (RFC 6376 3.6.1, RFC 8463 4), before base64: SubjectPublicKeyInfo for
  // RSA, the 32 bytes for Ed25519.
  std::string public_key() const;
  // RSA: over the digest's DigestInfo. Ed25519: over the 32 bytes of the digest (RFC 8463 3).
  std::expected<std::string, std::string> sign(const Sha256Digest& digest);

 private:
  struct Body;
  explicit PrivateKey(std::unique_ptr<Body> body);
  std::unique_ptr<Body> body_;
};

}  // namespace mxring::crypto
