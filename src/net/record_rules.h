// Which TLS records may go on to wolfSSL (RFC 8446 5, RFC 5246 6.2). wolfSSL 5.5.4 reads beside its
// buffer when a TLS 1.3 record holds no content type (CVE-2024-0901), and takes a handshake message
// whose header is cut off from the bytes after it. So every record is judged twice by these rules:
// its header before wolfSSL is given it, its plaintext as soon as our cipher callback has it and
// before wolfSSL looks at it (record_cipher.h). What is refused has an alert; the connection ends.
//
// After the handshake nothing but data, an alert or, in TLS 1.3, a new key may come: no message of
// the handshake is parsed again, and there is no renegotiation. Records that carry no data have a
// bound, and so have new keys for the data that came under them.
//
// Pure. Thread: the connection's. Both ends of a connection use it; where the rules differ, Side
// says which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mxring::net {

constexpr std::size_t kRecordHeaderBytes = 5;
constexpr std::size_t kRecordPlaintextMax = 16 * 1024;
// The longest of any version and cipher that is allowed here: TLS 1.2 AES-GCM, with nonce and tag.
constexpr std::size_t kRecordBodyMax = kRecordPlaintextMax + 8 + 16;

enum class RecordType : std::uint8_t {
  kChangeCipherSpec = 20,
  kAlert = 21,
  kHandshake = 22,
  kData = 23,
};

// RFC 8446 6. kNone: the record is admitted.
enum class TlsAlert : std::uint8_t {
  kNone = 0,
  kUnexpectedMessage = 10,
  kRecordOverflow = 22,
  kHandshakeFailure = 40,
  kDecodeError = 50,
  kInternalError = 80,
};

class RecordRules {
 public:
  enum class Side : std::uint8_t { kServer, kClient };
  enum class Version : std::uint8_t { kUnknown, kTls12, kTls13 };

  // Records without data in a row: empty ones, warnings, new keys.
  static constexpr std::uint32_t kIdleRecordsMax = 32;
  // New keys, and one more for so much data that came.
  static constexpr std::uint32_t kKeyUpdatesMax = 64;
  static constexpr std::uint64_t kDataPerKeyUpdate = 64 * 1024;
  // Of one handshake, a long ClientHello in small records included. Four are usual.
  static constexpr std::uint32_t kHandshakeRecordsMax = 4'096;

  explicit RecordRules(Side side = Side::kServer) : side_(side) {}

  // Once it is known; `overhead`: what a TLS 1.2 cipher adds to a record.
  void negotiated(Version version, std::size_t overhead);
  // wolfSSL says that the handshake is done.
  void opened();

  // By its header alone, before the rest of the record is there.
  TlsAlert header(std::uint8_t type, std::size_t body_bytes) const;
  // The record is handed over now.
  TlsAlert begin(std::uint8_t type, std::size_t body_bytes);
  // What the cipher made of it: of TLS 1.3 with content type and padding.
  TlsAlert plaintext13(std::span<const unsigned char> inner);
  TlsAlert plaintext12(std::uint8_t type, std::span<const unsigned char> plaintext);

  // Why the connection ends, once any of the above has refused a record.
  TlsAlert refused() const { return refused_; }

 private:
  // A position in the stream of handshake messages of the peer, which may be cut into records.
  struct Message {
    std::uint32_t left = 0;  // bytes of its body still to come
    std::uint8_t type = 0;
  };

  TlsAlert refuse(TlsAlert alert);
  TlsAlert handshake13(std::span<const unsigned char> content);
  bool may_begin(std::uint8_t message, std::uint32_t body_bytes) const;
  TlsAlert ended(std::uint8_t message, bool ends_record);
  TlsAlert idle();
  TlsAlert data(std::size_t bytes);

  Side side_;
  Version version_ = Version::kUnknown;
  TlsAlert refused_ = TlsAlert::kNone;
  bool open_ = false;            // the peer's Finished was seen under its keys
  bool changed_cipher_ = false;  // TLS 1.2: what the peer sends from here on is encrypted
  std::size_t overhead_ = 0;
  std::uint32_t records_ = 0;  // of the handshake
  std::uint32_t idle_ = 0;
  std::uint32_t key_updates_ = 0;
  std::uint64_t data_bytes_ = 0;
  Message message_;
};

}  // namespace mxring::net
