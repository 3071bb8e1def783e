#include "net/tls_stream.h"

#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <climits>

#include "base/assert.h"

namespace mxring::net {

namespace {

constexpr std::size_t kTagBytes = 16;
constexpr std::size_t kExplicitNonceBytes = 8;  // of AES-GCM in TLS 1.2 (RFC 5288 3)
constexpr std::uint8_t kChaChaSuites = 0xCC;    // RFC 7905: all begin like that

// wolfSSL has names of its own; one that is not here is given as it has it.
std::string_view group_name(std::string_view name) {
  struct Group {
    std::string_view wolf;
    std::string_view iana;
  };
  constexpr Group kGroups[] = {{"X25519", "x25519"},
                               {"SECP256R1", "secp256r1"},
                               {"SECP384R1", "secp384r1"},
                               {"X25519_MLKEM768", "X25519MLKEM768"}};
  for (const auto& [wolf, iana] : kGroups) {
    if (name == wolf) return iana;
  }
  return name;
}

}  // namespace

int TlsStream::on_receive(WOLFSSL*, char* into, int size, void* context) {
  auto& stream = *static_cast<TlsStream*>(context);
  const std::size_t got = stream.transport_.take({into, static_cast<std::size_t>(size)});
  MXRING_ASSERT(got <= static_cast<std::size_t>(size));
  return got == 0 ? WOLFSSL_CBIO_ERR_WANT_READ : static_cast<int>(got);
}

int TlsStream::on_send(WOLFSSL*, char* from, int size, void* context) {
  auto& stream = *static_cast<TlsStream*>(context);
  const std::string_view record(from, static_cast<std::size_t>(size));
  const auto why = static_cast<char>(stream.refused());
  // An alert in the clear, while there are no keys yet; others are changed as they are encrypted.
  constexpr std::string_view kClearAlertLength("\x00\x02", 2);
  if (why != 0 && record[0] == static_cast<char>(RecordType::kAlert) &&
      record.substr(3, 2) == kClearAlertLength) {
    stream.transport_.put(std::string(record.substr(0, kRecordHeaderBytes)) + '\x02' + why);
  } else {
    stream.transport_.put(record);
  }
  return size;
}

TlsStream::TlsStream(WOLFSSL* ssl, TlsTransport& transport, RecordRules::Side side, TlsHeap heap)
    : ssl_(ssl), transport_(transport), heap_(heap), rules_(side) {
  MXRING_ASSERT(ssl != nullptr);
  wolfSSL_SSLSetIORecv(ssl_, on_receive);
  wolfSSL_SSLSetIOSend(ssl_, on_send);
  wolfSSL_SetIOReadCtx(ssl_, this);
  wolfSSL_SetIOWriteCtx(ssl_, this);
}

TlsStream::~TlsStream() {
  MXRING_ASSERT(ssl_ != nullptr);
  wolfSSL_free(ssl_);
}

// wolfSSL notes every result that is not success, "more input needed" too, in a list of the thread
// that grows until it is cleared.
TlsStatus TlsStream::status_of(int result) {
  const int error = wolfSSL_get_error(ssl_, result);
  wolfSSL_ERR_clear_error();
  switch (error) {
    case WOLFSSL_ERROR_WANT_READ:
      return TlsStatus::kWantInput;
    case WOLFSSL_ERROR_ZERO_RETURN:
      return TlsStatus::kClosed;
    default:
      error_ = error;
      return TlsStatus::kFailed;
  }
}

TlsStatus TlsStream::handshake() {
  const RecordKeysInUse in_use(&keys_, &rules_);
  const TlsHeapInUse counted(heap_);
  const int result = wolfSSL_negotiate(ssl_);
  if (result != WOLFSSL_SUCCESS) return status_of(result);
  wolfSSL_ERR_clear_error();
  learn_version();
  rules_.opened();
  return TlsStatus::kDone;
}

// wolfSSL says what was negotiated once it has read the ClientHello, which is one record here.
void TlsStream::learn_version() {
  const bool tls13 = wolfSSL_version(ssl_) == TLS1_3_VERSION;
  const bool chacha = wolfSSL_get_current_cipher_suite(ssl_) >> 8 == kChaChaSuites;
  rules_.negotiated(tls13 ? RecordRules::Version::kTls13 : RecordRules::Version::kTls12,
                    kTagBytes + (tls13 || chacha ? 0 : kExplicitNonceBytes));
}

TlsAlert TlsStream::header(std::uint8_t type, std::size_t body_bytes) {
  if (hello_begun_) learn_version();
  return rules_.header(type, body_bytes);
}

TlsAlert TlsStream::begin_record(std::uint8_t type, std::size_t body_bytes) {
  if (hello_begun_) learn_version();
  hello_begun_ = true;
  return rules_.begin(type, body_bytes);
}

void TlsStream::send_refusal() {
  MXRING_ASSERT(refused() != TlsAlert::kNone);
  close_notify();
}

TlsStatus TlsStream::read(std::span<char> into, std::size_t& got) {
  MXRING_ASSERT(!into.empty() && into.size() <= INT_MAX);
  const RecordKeysInUse in_use(&keys_, &rules_);
  const TlsHeapInUse counted(heap_);
  MXRING_ASSERT(refused() == TlsAlert::kNone);
  const int result = wolfSSL_read(ssl_, into.data(), static_cast<int>(into.size()));
  got = result > 0 ? static_cast<std::size_t>(result) : 0;
  return result > 0 ? TlsStatus::kDone : status_of(result);
}

bool TlsStream::has_plaintext() const {
  return wolfSSL_pending(ssl_) > 0;
}

TlsStatus TlsStream::write(std::string_view plaintext) {
  MXRING_ASSERT(!plaintext.empty() && plaintext.size() <= INT_MAX);
  const RecordKeysInUse in_use(&keys_, &rules_);
  const TlsHeapInUse counted(heap_);
  const int size = static_cast<int>(plaintext.size());
  const int result = wolfSSL_write(ssl_, plaintext.data(), size);
  if (result == size) return TlsStatus::kDone;  // the transport takes everything
  status_of(result);
  return TlsStatus::kFailed;
}

void TlsStream::close_notify() {
  const RecordKeysInUse in_use(&keys_, &rules_);
  const TlsHeapInUse counted(heap_);
  wolfSSL_shutdown(ssl_);
  wolfSSL_ERR_clear_error();
}

TlsFacts TlsStream::facts() const {
  const int suite = wolfSSL_get_current_cipher_suite(ssl_);
  const bool resumed = wolfSSL_session_reused(ssl_) == 1;
  const bool exchanged = !resumed || wolfSSL_version(ssl_) == TLS1_3_VERSION;
  const char* group = exchanged ? wolfSSL_get_curve_name(ssl_) : nullptr;
  return {.version = wolfSSL_get_version(ssl_),
          .cipher = wolfSSL_get_cipher_name_iana_from_suite(static_cast<unsigned char>(suite >> 8),
                                                            static_cast<unsigned char>(suite)),
          .group = group == nullptr ? std::string_view() : group_name(group),
          .resumed = resumed};
}

std::string TlsStream::error_text() const {
  char text[WOLFSSL_MAX_ERROR_SZ] = {};
  wolfSSL_ERR_error_string_n(static_cast<unsigned long>(error_), text, sizeof text);
  return text;
}

}  // namespace mxring::net
