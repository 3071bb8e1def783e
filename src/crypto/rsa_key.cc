#include <bit>
#include <optional>
#include <utility>

#include "crypto/der.h"
#include "crypto/rsa.h"
#include "crypto/rsa_key_body.h"
#include "crypto/rsa_lanes.h"

namespace mxring::crypto {

namespace {

// 1.2.840.113549.1.1.1, rsaEncryption (RFC 3279 2.3.1)
constexpr std::string_view kRsaEncryption = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";

// As OpenSSL reads them, which is what those who publish keys have tried; it does not look at what
// follows a whole key either.
constexpr auto kRules = DerReader::Rules::kLenient;

struct Numbers {
  std::string_view modulus;
  std::string_view exponent;
};

// RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }, `inside` being the
// sequence's content.
std::optional<Numbers> parse_numbers(std::string_view inside) {
  DerReader reader(inside, kRules);
  const auto modulus = reader.take_unsigned();
  if (!modulus) return std::nullopt;
  const auto exponent = reader.take_unsigned();
  if (!exponent || !reader.at_end()) return std::nullopt;
  return Numbers{*modulus, *exponent};
}

// SubjectPublicKeyInfo ::= SEQUENCE { SEQUENCE { OBJECT IDENTIFIER, parameters }, BIT STRING }
std::expected<Numbers, RsaKeyError> parse_subject_public_key_info(std::string_view inside) {
  DerReader info(inside, kRules);
  const auto algorithm = info.take(DerTag::kSequence);
  if (!algorithm) return std::unexpected(RsaKeyError::kMalformed);
  const auto key = info.take_octets_of_bits();
  if (!key || !info.at_end()) return std::unexpected(RsaKeyError::kMalformed);
  DerReader identifier(*algorithm, kRules);
  const auto object = identifier.take(DerTag::kObjectId);
  if (!object || object->empty()) return std::unexpected(RsaKeyError::kMalformed);
  if (*object != kRsaEncryption) return std::unexpected(RsaKeyError::kNotRsa);
  // The parameters should be NULL (RFC 3279 2.3.1); nobody looks at what they are.
  const bool parameters = identifier.at_end() || identifier.take(identifier.next_tag());
  if (!parameters || !identifier.at_end()) return std::unexpected(RsaKeyError::kMalformed);
  DerReader outer(*key, kRules);
  const auto sequence = outer.take(DerTag::kSequence);
  if (!sequence) return std::unexpected(RsaKeyError::kMalformed);
  const auto numbers = parse_numbers(*sequence);
  if (!numbers) return std::unexpected(RsaKeyError::kMalformed);
  return *numbers;
}

bool is_odd(std::string_view magnitude) {
  return !magnitude.empty() && (static_cast<std::uint8_t>(magnitude.back()) & 1) != 0;
}

}  // namespace

std::expected<RsaPublicKey, RsaKeyError> RsaPublicKey::parse(std::string_view der) {
  DerReader outer(der, kRules);
  const auto inside = outer.take(DerTag::kSequence);
  if (!inside) return std::unexpected(RsaKeyError::kMalformed);
  // The two forms differ in their first element.
  Numbers numbers;
  if (DerReader(*inside, kRules).next_tag() == static_cast<std::uint8_t>(DerTag::kInteger)) {
    const auto bare = parse_numbers(*inside);
    if (!bare) return std::unexpected(RsaKeyError::kMalformed);
    numbers = *bare;
  } else {
    const auto wrapped = parse_subject_public_key_info(*inside);
    if (!wrapped) return std::unexpected(wrapped.error());
    numbers = *wrapped;
  }

  if (!is_odd(numbers.modulus) || !is_odd(numbers.exponent) ||
      numbers.modulus.size() > kRsaBytesMax || numbers.exponent.size() > kRsaExponentBytesMax) {
    return std::unexpected(RsaKeyError::kUnusable);
  }
  auto body = std::make_unique<Body>();
  const auto top = static_cast<std::uint8_t>(numbers.modulus[0]);
  body->bits = static_cast<std::uint32_t>(8 * (numbers.modulus.size() - 1)) +
               static_cast<std::uint32_t>(std::bit_width(top));
  for (const char octet : numbers.exponent) {
    body->exponent = body->exponent << 8 | static_cast<std::uint8_t>(octet);
  }
  if (body->bits < kRsaBitsMin || body->bits > kRsaBitsMax || body->exponent < 3 ||
      body->exponent > kRsaExponentMax) {
    return std::unexpected(RsaKeyError::kUnusable);
  }
  body->modulus.assign(numbers.modulus.begin(), numbers.modulus.end());
  if (body->exponent == kLaneExponent && lanes_available()) {
    body->lanes = prepare_for_lanes(body->modulus, body->bits);
  }
  return RsaPublicKey(std::move(body));
}

RsaPublicKey::RsaPublicKey(std::unique_ptr<const Body> body) : body_(std::move(body)) {}
RsaPublicKey::RsaPublicKey(RsaPublicKey&&) noexcept = default;
RsaPublicKey& RsaPublicKey::operator=(RsaPublicKey&&) noexcept = default;
RsaPublicKey::~RsaPublicKey() = default;

std::uint32_t RsaPublicKey::bits() const {
  return body_->bits;
}

std::size_t RsaPublicKey::bytes() const {
  return sizeof *this + sizeof *body_ + body_->modulus.capacity() +
         body_->lanes.digits.capacity() * sizeof(std::uint64_t);
}

}  // namespace mxring::crypto
