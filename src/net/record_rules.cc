#include "net/record_rules.h"

#include "base/assert.h"

namespace mxring::net {

namespace {

constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kMessageHeaderBytes = 4;
constexpr std::size_t kAlertBytes = 2;
// Finished in TLS 1.2 (RFC 5246 7.4.9), and the longest in 1.3, that of SHA-384.
constexpr std::size_t kFinished12Bytes = kMessageHeaderBytes + 12;
constexpr std::size_t kFinished13BytesMax = 48;

// Handshake messages.
constexpr std::uint8_t kFinished = 20;
constexpr std::uint8_t kKeyUpdate = 24;

constexpr auto kOk = TlsAlert::kNone;
constexpr auto kUnexpected = TlsAlert::kUnexpectedMessage;

}  // namespace

void RecordRules::negotiated(Version version, std::size_t overhead) {
  MXRING_ASSERT(version != Version::kUnknown);
  MXRING_ASSERT(!open_ || version_ == version || version_ == Version::kUnknown);
  version_ = version;
  overhead_ = overhead;
}

void RecordRules::opened() {
  MXRING_ASSERT(version_ != Version::kUnknown && refused_ == kOk);
  open_ = true;
}

TlsAlert RecordRules::refuse(TlsAlert alert) {
  MXRING_ASSERT(alert != kOk);
  if (refused_ == kOk) refused_ = alert;
  return refused_;
}

TlsAlert RecordRules::header(std::uint8_t type, std::size_t body_bytes) const {
  if (refused_ != kOk) return refused_;
  const auto record = static_cast<RecordType>(type);
  if (type < static_cast<std::uint8_t>(RecordType::kChangeCipherSpec) ||
      record > RecordType::kData) {
    return kUnexpected;
  }
  const bool tls13 = version_ == Version::kTls13;
  const bool encrypted = record == RecordType::kData || changed_cipher_;
  if (body_bytes > kRecordBodyMax || (tls13 && body_bytes > kRecordPlaintextMax + 1 + kTagBytes) ||
      (!encrypted && body_bytes > kRecordPlaintextMax) ||
      (changed_cipher_ && body_bytes > kRecordPlaintextMax + overhead_)) {
    return TlsAlert::kRecordOverflow;
  }
  if (open_ && tls13 && record != RecordType::kData) return kUnexpected;
  // Renegotiation, which we do not have; and changing ciphers outside of it.
  if (open_ && (record == RecordType::kHandshake || record == RecordType::kChangeCipherSpec)) {
    return kUnexpected;
  }
  // An empty TLS 1.3 record holds its content type at least; other fragments of no bytes are
  // allowed for data only (RFC 5246 6.2.1), which has a tag even so.
  std::size_t least = 1;
  if (record == RecordType::kData) least = kTagBytes + (tls13 ? 1 : 0);
  if (changed_cipher_) least = overhead_ + (record == RecordType::kData ? 0 : 1);
  if (body_bytes < least) return kUnexpected;
  if (record == RecordType::kChangeCipherSpec && (changed_cipher_ || body_bytes != 1)) {
    return kUnexpected;
  }
  if (record == RecordType::kAlert &&
      body_bytes != kAlertBytes + (changed_cipher_ ? overhead_ : 0)) {
    return kUnexpected;
  }
  if (record == RecordType::kHandshake && changed_cipher_ &&
      body_bytes != kFinished12Bytes + overhead_) {
    return kUnexpected;
  }
  return kOk;
}

TlsAlert RecordRules::begin(std::uint8_t type, std::size_t body_bytes) {
  MXRING_ASSERT(message_.left == 0 || version_ == Version::kTls13);
  MXRING_ASSERT(!changed_cipher_ || version_ == Version::kTls12);
  if (const TlsAlert alert = header(type, body_bytes); alert != kOk) return refuse(alert);
  const auto record = static_cast<RecordType>(type);
  if (!open_ && ++records_ > kHandshakeRecordsMax) return refuse(kUnexpected);
  if (version_ != Version::kTls12) return kOk;
  // Under TLS 1.2 the header tells everything, for every cipher.
  if (record == RecordType::kChangeCipherSpec) changed_cipher_ = true;
  if (record == RecordType::kAlert) return idle();
  if (record == RecordType::kData) return data(body_bytes - overhead_);
  return kOk;
}

TlsAlert RecordRules::plaintext13(std::span<const unsigned char> inner) {
  if (refused_ != kOk) return refused_;
  std::size_t end = inner.size();
  while (end > 0 && inner[end - 1] == 0) --end;
  if (end == 0) return refuse(kUnexpected);  // no content type (RFC 8446 5.4)
  const auto type = static_cast<RecordType>(inner[end - 1]);
  const auto content = inner.first(end - 1);
  if (content.size() > kRecordPlaintextMax) return refuse(TlsAlert::kRecordOverflow);
  // A message of the handshake that is cut has nothing between its parts (RFC 8446 5.1).
  if (message_.left > 0 && type != RecordType::kHandshake) return refuse(kUnexpected);
  switch (type) {
    case RecordType::kData:
      return open_ ? data(content.size()) : refuse(kUnexpected);
    case RecordType::kAlert:
      return content.size() == kAlertBytes ? idle() : refuse(TlsAlert::kDecodeError);
    case RecordType::kHandshake:
      return content.empty() ? refuse(kUnexpected) : handshake13(content);
    case RecordType::kChangeCipherSpec:
      break;
  }
  return refuse(kUnexpected);
}

// A server sends its client other messages than Finished and KeyUpdate; what they may be is left to
// wolfSSL there.
bool RecordRules::may_begin(std::uint8_t message, std::uint32_t body_bytes) const {
  if (message == kKeyUpdate) return open_ && body_bytes == 1;
  if (side_ == Side::kClient) return true;
  return message == kFinished && !open_ && body_bytes <= kFinished13BytesMax;
}

TlsAlert RecordRules::ended(std::uint8_t message, bool ends_record) {
  const bool new_keys = message == kFinished || message == kKeyUpdate;
  if (new_keys && !ends_record) return refuse(kUnexpected);  // RFC 8446 5.1
  if (message == kFinished) open_ = true;
  if (message != kKeyUpdate) return kOk;
  if (++key_updates_ > kKeyUpdatesMax + data_bytes_ / kDataPerKeyUpdate) return refuse(kUnexpected);
  return idle();
}

TlsAlert RecordRules::handshake13(std::span<const unsigned char> content) {
  while (!content.empty()) {
    if (message_.left == 0) {
      // wolfSSL wants a message's header in one record, though it need not be.
      if (content.size() < kMessageHeaderBytes) return refuse(kUnexpected);
      message_.type = content[0];
      message_.left = std::uint32_t{content[1]} << 16 | std::uint32_t{content[2]} << 8 | content[3];
      if (!may_begin(message_.type, message_.left)) return refuse(kUnexpected);
      content = content.subspan(kMessageHeaderBytes);
    }
    const std::size_t n = content.size() < message_.left ? content.size() : message_.left;
    content = content.subspan(n);
    message_.left -= static_cast<std::uint32_t>(n);
    if (message_.left > 0) break;
    if (const TlsAlert alert = ended(message_.type, content.empty()); alert != kOk) return alert;
  }
  return kOk;
}

TlsAlert RecordRules::plaintext12(std::uint8_t type, std::span<const unsigned char> plaintext) {
  if (refused_ != kOk) return refused_;
  switch (static_cast<RecordType>(type)) {
    case RecordType::kData:
      return plaintext.size() <= kRecordPlaintextMax ? kOk : refuse(TlsAlert::kRecordOverflow);
    case RecordType::kAlert:
      return plaintext.size() == kAlertBytes ? kOk : refuse(TlsAlert::kDecodeError);
    case RecordType::kHandshake:
      // Nothing else is encrypted, and only once.
      if (open_ || plaintext.size() != kFinished12Bytes || plaintext[0] != kFinished) break;
      return kOk;
    case RecordType::kChangeCipherSpec:
      break;
  }
  return refuse(kUnexpected);
}

TlsAlert RecordRules::idle() {
  return ++idle_ > kIdleRecordsMax ? refuse(kUnexpected) : kOk;
}

TlsAlert RecordRules::data(std::size_t bytes) {
  if (bytes == 0) return idle();
  idle_ = 0;
  data_bytes_ += bytes;
  return kOk;
}

}  // namespace mxring::net
