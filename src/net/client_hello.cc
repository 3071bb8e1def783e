#include "net/client_hello.h"

#include <algorithm>

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
constexpr std::uint16_t kSupportedVersions = 43;

constexpr std::uint16_t kP256 = 23;
// As in tls_policy.cc: X25519, P-256, P-384.
constexpr std::uint16_t kGroups[] = {29, kP256, 24};
constexpr std::uint16_t kEcdsaP256Sha256 = 0x0403;
// TLS 1.3 with AES-128-GCM, AES-256-GCM; as in tls_policy.cc.
constexpr std::uint16_t kTls13Suites[] = {0x1301, 0x1302};
// ECDHE-ECDSA with AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
constexpr std::uint16_t kEcdsaSuites[] = {0xC02B, 0xC02C, 0xCCA9};

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

// The body of the ClientHello message.
bool read_body(std::string_view body, ClientHello& hello) {
  Reader reader(body);
  const std::uint32_t version = reader.number(2);
  reader.take(32);   // random
  reader.vector(1);  // session id
  const std::string_view suites = reader.vector(2);
  reader.vector(1);  // compression methods
  if (reader.failed()) return false;
  bool p256 = true;  // without the extension, any curve
  bool ecdsa_signature = false;
  if (!reader.empty()) {
    Reader extensions(reader.vector(2));
    while (!extensions.empty()) {
      const std::uint32_t type = extensions.number(2);
      const std::string_view data = extensions.vector(2);
      if (extensions.failed()) return false;
      if (type == kServerName) read_server_name(data, hello);
      if (type == kSupportedGroups) {
        const std::string_view groups = Reader(data).vector(2);
        p256 = lists(groups, kP256);
        hello.shares_group =
            std::ranges::any_of(kGroups, [&](std::uint16_t group) { return lists(groups, group); });
      }
      if (type == kSignatureAlgorithms) {
        ecdsa_signature = lists(Reader(data).vector(2), kEcdsaP256Sha256);
      }
      if (type == kSupportedVersions) hello.takes_tls13 = lists(Reader(data).vector(1), kTls13);
    }
  }
  if (reader.failed() || version < 0x0300) return false;
  const auto offers = [&](std::uint16_t suite) { return lists(suites, suite); };
  hello.only_other_suites13 = hello.takes_tls13 && std::ranges::none_of(kTls13Suites, offers);
  if (hello.only_other_suites13) hello.takes_tls13 = false;
  const bool suite = std::ranges::any_of(kEcdsaSuites, offers);
  // In TLS 1.3 the curve of a certificate is part of the signature algorithm.
  hello.takes_ecdsa =
      ecdsa_signature && (hello.takes_tls13 || (version >= kTls12 && suite && p256));
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
        if (record_shape != nullptr && ends_its_record && records > 0) {
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
