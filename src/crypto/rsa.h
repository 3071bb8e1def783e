// RSA signatures, PKCS #1 v1.5 with SHA-256 (RFC 8017 8.2.2): public keys parsed once, and
// verification of many signatures under as many keys at once in SIMD lanes.
//
// Only public values are involved, so nothing here needs to run in constant time. The whole encoded
// message is compared with what it must be; nothing of it is parsed.
//
// Thread: keys are immutable and may be shared by threads; an RsaVerifier belongs to one thread.
// Failure: a wrong signature is a result; keys that cannot be used are an error of parse().
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "crypto/sha256.h"

namespace mxring::crypto {

enum class RsaKeyError : std::uint8_t {
  kMalformed,  // neither SubjectPublicKeyInfo (RFC 5280) nor RSAPublicKey (RFC 8017)
  kNotRsa,     // a SubjectPublicKeyInfo of another algorithm
  kUnusable,   // modulus even, under 512 or over 4096 bits; exponent even, below 3 or over 17 bits
};

class RsaPublicKey {
 public:
  static std::expected<RsaPublicKey, RsaKeyError> parse(std::string_view der);
  RsaPublicKey(RsaPublicKey&&) noexcept;
  RsaPublicKey& operator=(RsaPublicKey&&) noexcept;
  ~RsaPublicKey();

  std::uint32_t bits() const;  // of the modulus
  std::size_t bytes() const;   // of memory, constants for the lanes included

 private:
  friend class RsaVerifier;
  struct Body;
  explicit RsaPublicKey(std::unique_ptr<const Body> body);
  std::unique_ptr<const Body> body_;
};

struct RsaCheck {
  const RsaPublicKey* key = nullptr;
  std::string_view signature;  // big-endian, as in the signature's b=
  Sha256Digest digest{};
  bool valid = false;  // set by verify()
};

enum class RsaPath : std::uint8_t { kWolfCrypt, kLanes };  // kLanes: AVX-512 IFMA
std::span<const RsaPath> rsa_paths();                      // those this processor has

class RsaVerifier {
 public:
  // `paths` limits what may be used, for tests and benchmarks; empty: all of this processor's. What
  // the lanes cannot do (other exponents than 65537) wolfCrypt does in any case.
  explicit RsaVerifier(std::span<const RsaPath> paths = {});
  ~RsaVerifier();
  // All of them, in groups by size of key. Nothing needs to be gathered first: one signature alone
  // is quicker in the lanes too.
  void verify(std::span<RsaCheck* const> checks);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace mxring::crypto
