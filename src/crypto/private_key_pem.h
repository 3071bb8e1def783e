// The wrappings of a private key: PEM (RFC 7468), PKCS #8 (RFC 5958) and PKCS #1 (RFC 8017 A.1.2).
// Only wrappings: whether the numbers inside make a key is private_key.cc's business.
//
// Thread: any. Ownership: secrets are copied into memory that is wiped when it goes. Failure: a
// message that says what is wrong and quotes nothing of the input.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "crypto/private_key.h"

namespace mxring::crypto {

// Octets that are wiped when they go. They never move in memory once written, so that no copy is
// left behind.
class Secret {
 public:
  Secret() = default;
  explicit Secret(std::size_t size) : octets_(size) {}
  explicit Secret(std::string_view octets) : octets_(octets.begin(), octets.end()) {}
  Secret(Secret&&) noexcept = default;
  Secret(const Secret&) = delete;
  Secret& operator=(Secret&& other) noexcept;
  Secret& operator=(const Secret&) = delete;
  ~Secret();

  std::uint8_t* data() { return octets_.data(); }
  std::size_t size() const { return octets_.size(); }
  std::string_view view() const {
    return {reinterpret_cast<const char*>(octets_.data()), octets_.size()};
  }
  // Keeps the first `size` octets, wiping the others.
  void shrink(std::size_t size);

 private:
  std::vector<std::uint8_t> octets_;
};

// A key as it lies in a file: RSAPrivateKey for RSA, the 32 octets of RFC 8032 for Ed25519.
struct UnwrappedKey {
  KeyType type = KeyType::kRsa;
  Secret key;
};

std::expected<UnwrappedKey, std::string> unwrap_private_key(std::string_view pem);
std::string wrap_private_key(KeyType type, std::string_view key);  // PKCS #8 in PEM

}  // namespace mxring::crypto
