#include "net/client_hello.h"

#include <algorithm>
#include <array>
#include <span>

#include "base/text.h"

namespace mxring::net {

namespace {

constexpr std::uint8_t kHandshakeRecord = 22;
constexpr std::uint8_t kClientHelloMessage = 1;
constexpr std::size_t kRecordHeaderBytes = 5;
constexpr std::size_t kMessageHeaderBytes = 4;
constexpr std::size_t kFragmentBytesMax = 16 * 1024;
// A hello in 1-byte records is allowed; looking through them again with every segment that comes
// must stay cheap.
constexpr std::size_t kRecordsMax = 2048;

constexpr std::uint16_t kTls12 = 0x0303;
constexpr std::uint16_t kTls13 = 0x0304;

// Extensions.
constexpr std::uint16_t kServerName = 0;
constexpr std::uint16_t kSupportedGroups = 10;
constexpr std::uint16_t kSignatureAlgorithms = 13;
constexpr std::uint16_t kProtocols = 16;
constexpr std::uint16_t kSupportedVersions = 43;
constexpr std::uint16_t kKeyShare = 51;
// Neither may come twice (RFC 8446 4.2, 4.2.8), and nobody knows so many.
constexpr std::size_t kExtensionsMax = 64;
constexpr std::size_t kKeySharesMax = 16;

constexpr std::uint16_t kP256 = 23;
constexpr std::uint16_t kP384 = 24;
constexpr std::uint16_t kP521 = 25;
// As in tls_policy.cc: X25519, P-256, P-384, and X25519MLKEM768 where the library has it.
constexpr std::uint16_t kGroups[] = {29, kP256, kP384,
#if MXRING_X25519MLKEM768
                                     0x11EC
#endif
};
// Signature algorithms (RFC 8446 4.2.3); in TLS 1.2 the numbers name a hash and RSA or ECDSA.
constexpr std::uint16_t kEcdsaP256Sha256 = 0x0403;
constexpr std::uint16_t kEcdsaP384Sha384 = 0x0503;
constexpr std::uint16_t kEcdsaP521Sha512 = 0x0603;
constexpr std::uint16_t kEcdsaAlgorithms[] = {kEcdsaP256Sha256, kEcdsaP384Sha384, kEcdsaP521Sha512};
constexpr std::uint16_t kRsaPssAlgorithms[] = {0x0804, 0x0805, 0x0806};
constexpr std::uint16_t kRsaAlgorithms12[] = {0x0401, 0x0501, 0x0601, 0x0201,
                                              0x0804, 0x0805, 0x0806};
// TLS 1.3 with AES-128-GCM, AES-256-GCM; as in tls_policy.cc.
constexpr std::uint16_t kTls13Suites[] = {0x1301, 0x1302};
// ECDHE-ECDSA with AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
constexpr std::uint16_t kEcdsaSuites[] = {0xC02B, 0xC02C, 0xCCA9};
// ECDHE-RSA with the same.
constexpr std::uint16_t kRsaSuites[] = {0xC02F, 0xC030, 0xCCA8};

// A view that gives big-endian numbers and vectors; failed() once anything was missing.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  std::uint32_t number(std::size_t size) {
    std::uint32_t value = 0;
    for (const char c : take(size)) value = value << 8 | static_cast<unsigned char>(c);
    return value;
  }
  std::string_view take(std::size_t size) {
    if (size > bytes_.size()) {
      failed_ = true;
      bytes_ = {};
      return {};
    }
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  // A vector whose length is given in `size` bytes.
  std::string_view vector(std::size_t size) { return take(number(size)); }
  bool failed() const { return failed_; }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool failed_ = false;
};

bool is_name_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
}

// Only the host_name type exists (RFC 6066 3).
void read_server_name(std::string_view extension, ClientHello& hello) {
  Reader list(Reader(extension).vector(2));
  while (!list.empty() && !list.failed()) {
    const std::uint32_t type = list.number(1);
    const std::string_view name = list.vector(2);
    if (list.failed() || type != 0) continue;
    std::string lower(name);
    std::ranges::transform(lower, lower.begin(), base::ascii_lower);
    if (lower.ends_with('.')) lower.pop_back();
    const bool good = !lower.empty() && lower.size() <= kServerNameBytesMax &&
                      std::ranges::all_of(lower, is_name_byte);
    hello.server_name_refused = !good;
    hello.server_name = good ? std::move(lower) : std::string();
    return;
  }
}

bool lists(std::string_view numbers, std::uint16_t wanted) {
  Reader reader(numbers);
  while (!reader.empty()) {
    if (reader.number(2) == wanted && !reader.failed()) return true;
  }
  return false;
}

bool lists_any(std::string_view numbers, std::span<const std::uint16_t> wanted) {
  return std::ranges::any_of(wanted, [&](std::uint16_t one) { return lists(numbers, one); });
}

// What was said about certificates, and what makes a fingerprint; views into the hello.
struct Offer {
  std::string_view suites;
  std::string_view groups;
  std::string_view versions;
  std::string_view protocol;
  std::array<std::uint16_t, kExtensionsMax> types;
  std::size_t type_count = 0;
  std::string_view algorithms;
  bool named_groups = false;
  bool named_algorithms = false;
};

// In TLS 1.3 the curve of a certificate is part of the signature algorithm.
void read_keys13(const Offer& offer, ClientHello& hello) {
  hello.takes_rsa = lists_any(offer.algorithms, kRsaPssAlgorithms);
  hello.takes_p256 = lists(offer.algorithms, kEcdsaP256Sha256);
  hello.takes_p384 = lists(offer.algorithms, kEcdsaP384Sha384);
  hello.takes_p521 = lists(offer.algorithms, kEcdsaP521Sha512);
}

// Without its extension any curve is taken, and of signatures those with SHA-1, which we do not
// make with ECDSA.
void read_keys12(const Offer& offer, ClientHello& hello) {
  const bool ecdsa =
      lists_any(offer.suites, kEcdsaSuites) && lists_any(offer.algorithms, kEcdsaAlgorithms);
  const auto curve = [&](std::uint16_t group) {
    return ecdsa && (!offer.named_groups || lists(offer.groups, group));
  };
  hello.takes_p256 = curve(kP256);
  hello.takes_p384 = curve(kP384);
  hello.takes_p521 = curve(kP521);
  hello.takes_rsa = lists_any(offer.suites, kRsaSuites) &&
                    (!offer.named_algorithms || lists_any(offer.algorithms, kRsaAlgorithms12));
}

// wolfSSL keeps and looks through every key share of a hello; ten thousand of them take it long.
bool sane_key_shares(std::string_view extension) {
  Reader shares(Reader(extension).vector(2));
  std::array<std::uint32_t, kKeySharesMax> seen{};
  for (std::size_t count = 0; !shares.empty(); ++count) {
    const std::uint32_t group = shares.number(2);
    shares.vector(2);
    const auto end = seen.begin() + static_cast<std::ptrdiff_t>(count);
    if (shares.failed() || count == seen.size() || std::find(seen.begin(), end, group) != end) {
      return false;
    }
    *end = group;
  }
  return true;
}

// False: cut off, or what may be there once is there twice.
bool read_extensions(std::string_view bytes, ClientHello& hello, Offer& offer) {
  Reader extensions(bytes);
  std::size_t& count = offer.type_count;
  while (!extensions.empty()) {
    const auto type = static_cast<std::uint16_t>(extensions.number(2));
    const std::string_view data = extensions.vector(2);
    const std::span seen = std::span(offer.types).first(count);
    if (extensions.failed() || count == offer.types.size() ||
        std::ranges::find(seen, type) != seen.end()) {
      return false;
    }
    offer.types[count++] = type;
    if (type == kKeyShare && !sane_key_shares(data)) return false;
    if (type == kServerName) read_server_name(data, hello);
    if (type == kSupportedGroups) {
      offer.named_groups = true;
      offer.groups = Reader(data).vector(2);
      hello.shares_group = lists_any(offer.groups, kGroups);
    }
    if (type == kSignatureAlgorithms) {
      offer.named_algorithms = true;
      offer.algorithms = Reader(data).vector(2);
    }
    if (type == kSupportedVersions) {
      offer.versions = Reader(data).vector(1);
      hello.takes_tls13 = lists(offer.versions, kTls13);
    }
    if (type == kProtocols) offer.protocol = Reader(Reader(data).vector(2)).vector(1);
  }
  return true;
}

// The body of the ClientHello message.
bool read_body(std::string_view body, ClientHello& hello) {
  Reader reader(body);
  Offer offer;
  const std::uint32_t version = reader.number(2);
  reader.take(32);   // random
  reader.vector(1);  // session id
  offer.suites = reader.vector(2);
  reader.vector(1);  // compression methods
  if (reader.failed()) return false;
  if (!reader.empty() && !read_extensions(reader.vector(2), hello, offer)) return false;
  if (reader.failed() || version < 0x0300) return false;
  hello.fingerprint = ja4({.version = static_cast<std::uint16_t>(version),
                           .suites = offer.suites,
                           .versions = offer.versions,
                           .algorithms = offer.algorithms,
                           .protocol = offer.protocol,
                           .types = std::span(offer.types).first(offer.type_count)});
  hello.only_other_suites13 = hello.takes_tls13 && !lists_any(offer.suites, kTls13Suites);
  if (hello.only_other_suites13) hello.takes_tls13 = false;
  if (hello.takes_tls13) {
    read_keys13(offer, hello);
  } else if (version >= kTls12) {
    read_keys12(offer, hello);
  }
  return true;
}

// Empty when it is too long for one.
std::string one_record(std::string_view message) {
  if (message.size() > kFragmentBytesMax) return {};
  std::string record("\x16\x03\x01", 3);
  record += static_cast<char>(message.size() >> 8);
  record += static_cast<char>(message.size() & 0xFF);
  record += message;
  return record;
}

}  // namespace

bool ClientHello::takes(CertificateKey key) const {
  switch (key) {
    case CertificateKey::kRsa:
      return takes_rsa;
    case CertificateKey::kP256:
      return takes_p256;
    case CertificateKey::kP384:
      return takes_p384;
    case CertificateKey::kP521:
      return takes_p521;
    default:
      return false;
  }
}

HelloOutcome read_client_hello(std::string_view bytes, ClientHello& hello,
                               HelloRecords* record_shape) {
  std::string joined;        // the message, when it is spread over records
  std::string_view message;  // what there is of it
  std::string_view rest = bytes;
  for (std::size_t records = 0; records < kRecordsMax; ++records) {
    if (!rest.empty() && static_cast<std::uint8_t>(rest[0]) != kHandshakeRecord) {
      return HelloOutcome::kNotTls;
    }
    if (rest.size() >= 2 && rest[1] != 3) return HelloOutcome::kNotTls;
    if (rest.size() < kRecordHeaderBytes) return HelloOutcome::kMore;
    Reader header(rest.substr(3));
    const std::size_t length = header.number(2);
    if (length == 0 || length > kFragmentBytesMax) return HelloOutcome::kMalformed;
    const std::string_view fragment = rest.substr(kRecordHeaderBytes, length);
    if (fragment.empty()) return HelloOutcome::kMore;
    if (message.empty()) {
      message = fragment;
    } else {
      if (joined.empty()) joined = message;
      joined += fragment;
      message = joined;
    }
    if (static_cast<std::uint8_t>(message[0]) != kClientHelloMessage) {
      return HelloOutcome::kMalformed;
    }
    if (message.size() >= kMessageHeaderBytes) {
      const std::size_t body = Reader(message.substr(1)).number(3);
      if (body + kMessageHeaderBytes > kClientHelloBytesMax) return HelloOutcome::kMalformed;
      if (message.size() >= kMessageHeaderBytes + body) {
        hello = {};
        if (!read_body(message.substr(kMessageHeaderBytes, body), hello)) {
          return HelloOutcome::kMalformed;
        }
        const bool ends_its_record =
            fragment.size() == length && message.size() == kMessageHeaderBytes + body;
        // What follows is under other keys, or is nothing yet (RFC 8446 5.1).
        if (!ends_its_record) return HelloOutcome::kMalformed;
        if (record_shape != nullptr && records > 0) {
          rest.remove_prefix(kRecordHeaderBytes + length);
          record_shape->wire_bytes = bytes.size() - rest.size();
          record_shape->rewritten = one_record(message);
        }
        return HelloOutcome::kHello;
      }
    }
    if (fragment.size() < length) return HelloOutcome::kMore;
    rest.remove_prefix(kRecordHeaderBytes + length);
  }
  return HelloOutcome::kMalformed;
}

}  // namespace mxring::net
