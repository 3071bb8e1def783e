#include "crypto/private_key_pem.h"

#include <string.h>

#include <array>
#include <optional>
#include <utility>

#include "crypto/der.h"

namespace mxring::crypto {

namespace {

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";
constexpr std::string_view kPkcs8 = "PRIVATE KEY";
constexpr std::string_view kPkcs1 = "RSA PRIVATE KEY";
constexpr std::string_view kEncrypted = "ENCRYPTED PRIVATE KEY";

// A 4096-bit key in PEM has 3.3 KB.
constexpr std::size_t kPemBytesMax = 64 * 1024;

constexpr std::string_view kRsaEncryption = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";  // RFC 8017 A.1
constexpr std::string_view kEd25519 = "\x2b\x65\x70";                                // RFC 8410 3
constexpr std::size_t kSeedBytes = 32;

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

std::unexpected<std::string> refuse(std::string_view reason) {
  return std::unexpected(std::string(reason));
}

struct Block {
  std::string_view label;
  std::string_view text;
};

// The first block whose label ends in "PRIVATE KEY"; others (EC PARAMETERS, certificates) may
// precede it.
std::optional<Block> find_block(std::string_view pem) {
  std::size_t at = 0;
  while ((at = pem.find(kBegin, at)) != std::string_view::npos) {
    const bool line_start = at == 0 || pem[at - 1] == '\n' || pem[at - 1] == '\r';
    at += kBegin.size();
    if (!line_start) continue;
    const std::size_t label_end = pem.find(kDashes, at);
    if (label_end == std::string_view::npos) return std::nullopt;
    const std::string_view label = pem.substr(at, label_end - at);
    if (!label.ends_with(kPkcs8)) continue;
    const std::string_view rest = pem.substr(label_end + kDashes.size());
    const std::size_t end = rest.find(kEnd);
    if (end == std::string_view::npos) return std::nullopt;
    const std::string_view trailer = rest.substr(end + kEnd.size());
    if (!trailer.starts_with(label) || !trailer.substr(label.size()).starts_with(kDashes)) {
      return std::nullopt;
    }
    return Block{label, rest.substr(0, end)};
  }
  return std::nullopt;
}

bool is_space(char c) {
  return c == '\r' || c == '\n' || c == ' ' || c == '\t';
}

// RFC 4648 with line breaks anywhere; padding where it is due and nothing after it.
std::optional<Secret> decode_base64(std::string_view text) {
  Secret out(text.size() / 4 * 3 + 3);
  std::size_t size = 0;
  std::uint32_t bits = 0;
  unsigned characters = 0;
  unsigned padding = 0;
  bool ended = false;
  for (const char c : text) {
    if (is_space(c)) continue;
    if (ended) return std::nullopt;
    const std::size_t value = c == '=' ? 0 : kBase64.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    if (c == '=') {
      if (characters < 2) return std::nullopt;
      ++padding;
    } else if (padding != 0) {
      return std::nullopt;
    }
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    if (++characters < 4) continue;
    for (unsigned i = 0; i < 3 - padding; ++i) {
      out.data()[size++] = static_cast<std::uint8_t>(bits >> (16 - 8 * i));
    }
    characters = 0;
    bits = 0;
    ended = padding != 0;
  }
  if (characters != 0 || size == 0) return std::nullopt;
  out.shrink(size);
  return out;
}

// PrivateKeyInfo ::= SEQUENCE { version, SEQUENCE { algorithm, parameters }, OCTET STRING,
// attributes [0] OPTIONAL, publicKey [1] OPTIONAL }
std::expected<UnwrappedKey, std::string> unwrap_pkcs8(std::string_view der) {
  static constexpr std::string_view kMalformed = "the private key is not well-formed PKCS #8";
  DerReader outer(der);
  const auto inside = outer.take(DerTag::kSequence);
  if (!inside || !outer.at_end()) return refuse(kMalformed);
  DerReader info(*inside);
  const auto version = info.take_unsigned();
  if (!version || version->size() > 1 || (version->size() == 1 && (*version)[0] != 1)) {
    return refuse(kMalformed);
  }
  const auto algorithm = info.take(DerTag::kSequence);
  const auto key = algorithm ? info.take(DerTag::kOctetString) : std::nullopt;
  if (!key) return refuse(kMalformed);
  for (const std::uint8_t optional_tag : {std::uint8_t{0xa0}, std::uint8_t{0x81}}) {
    if (info.next_tag() == optional_tag && !info.take(optional_tag)) return refuse(kMalformed);
  }
  if (!info.at_end()) return refuse(kMalformed);

  DerReader identifier(*algorithm);
  const auto object = identifier.take(DerTag::kObjectId);
  if (!object) return refuse(kMalformed);
  if (*object == kRsaEncryption) {
    if (!identifier.take(DerTag::kNull) || !identifier.at_end()) return refuse(kMalformed);
    return UnwrappedKey{KeyType::kRsa, Secret(*key)};
  }
  if (*object == kEd25519) {
    DerReader seed_reader(*key);
    const auto seed = seed_reader.take(DerTag::kOctetString);
    if (!identifier.at_end() || !seed || seed->size() != kSeedBytes || !seed_reader.at_end()) {
      return refuse(kMalformed);
    }
    return UnwrappedKey{KeyType::kEd25519, Secret(*seed)};
  }
  return refuse("the private key is neither RSA nor Ed25519");
}

}  // namespace

Secret& Secret::operator=(Secret&& other) noexcept {
  shrink(0);
  octets_ = std::exchange(other.octets_, {});
  return *this;
}

Secret::~Secret() {
  shrink(0);
}

void Secret::shrink(std::size_t size) {
  if (octets_.size() > size) explicit_bzero(octets_.data() + size, octets_.size() - size);
  octets_.resize(size);
}

std::expected<UnwrappedKey, std::string> unwrap_private_key(std::string_view pem) {
  if (pem.size() > kPemBytesMax) return refuse("too long for a private key");
  const std::optional<Block> block = find_block(pem);
  if (!block) return refuse("no PEM block with a private key in it");
  if (block->label == kEncrypted || block->text.find("ENCRYPTED") != std::string_view::npos) {
    return refuse("the private key is encrypted; decrypt it first (openssl pkey -in FILE)");
  }
  if (block->label != kPkcs8 && block->label != kPkcs1) {
    return refuse("only PRIVATE KEY (PKCS #8) and RSA PRIVATE KEY (PKCS #1) can be read");
  }
  std::optional<Secret> der = decode_base64(block->text);
  if (!der) return refuse("the private key's base64 is damaged");
  if (block->label == kPkcs1) return UnwrappedKey{KeyType::kRsa, std::move(*der)};
  return unwrap_pkcs8(der->view());
}

std::string wrap_private_key(KeyType type, std::string_view key) {
  // Everything is reserved first, so that growing strings leave no pieces of the key behind; what
  // is not returned is wiped.
  const std::size_t der_max = key.size() + 64;
  std::string algorithm;
  append_der(algorithm, DerTag::kObjectId, type == KeyType::kRsa ? kRsaEncryption : kEd25519);
  if (type == KeyType::kRsa) append_der(algorithm, DerTag::kNull, {});
  std::string inner;
  inner.reserve(der_max);
  if (type == KeyType::kEd25519) {
    append_der(inner, DerTag::kOctetString, key);
    key = inner;
  }
  std::string info;
  info.reserve(der_max);
  append_der(info, DerTag::kInteger, std::string_view("\0", 1));
  append_der(info, DerTag::kSequence, algorithm);
  append_der(info, DerTag::kOctetString, key);
  std::string der;
  der.reserve(der_max);
  append_der(der, DerTag::kSequence, info);

  std::string pem;
  pem.reserve(der.size() / 3 * 4 + der.size() / 48 + 128);
  pem.append(kBegin).append(kPkcs8).append(kDashes) += '\n';
  for (std::size_t at = 0; at < der.size(); at += 3) {
    const std::size_t octets = std::min<std::size_t>(3, der.size() - at);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i) {
      bits = bits << 8 | (i < octets ? static_cast<std::uint8_t>(der[at + i]) : 0U);
    }
    for (std::size_t i = 0; i < 4; ++i) {
      pem += i <= octets ? kBase64[bits >> (18 - 6 * i) & 63] : '=';
    }
    const bool line_full = at % 48 == 45;
    if (line_full || at + 3 >= der.size()) pem += '\n';
  }
  pem.append(kEnd).append(kPkcs8).append(kDashes) += '\n';
  for (std::string* const secret : {&inner, &info, &der}) {
    explicit_bzero(secret->data(), secret->size());
  }
  return pem;
}

}  // namespace mxring::crypto
