#include "net/tls_server.h"

#include <fmt/format.h>
#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/assert.h"
#include "base/text.h"
#include "net/record_cipher.h"
#include "net/tls_policy.h"

namespace mxring::net {

namespace {

// Where a session keeps the name that its client asked for.
constexpr int kNameSlot = 0;

// wolfSSL's ticket callback. It leaves room for a nonce of 16 bytes and a tag of 32; the rest of
// both stays zero.
int on_ticket(WOLFSSL* ssl, unsigned char* name, unsigned char* nonce, unsigned char* tag,
              int encrypt, unsigned char* ticket, int ticket_bytes, int* out_bytes, void* context) {
  auto& keys = *static_cast<TlsTicketKeys*>(context);
  const auto* asked_for = static_cast<const std::string*>(wolfSSL_get_ex_data(ssl, kNameSlot));
  const std::string_view server_name = asked_for != nullptr ? *asked_for : std::string_view();
  const base::MonoTime now = base::read_clocks().mono;
  const std::span<unsigned char> whole(ticket, static_cast<std::size_t>(ticket_bytes));
  const std::span<unsigned char, TlsTicketKeys::kNameBytes> name_bytes(name,
                                                                       TlsTicketKeys::kNameBytes);
  const std::span<unsigned char, TlsTicketKeys::kNonceBytes> nonce_bytes(
      nonce, TlsTicketKeys::kNonceBytes);
  const std::span<unsigned char, TlsTicketKeys::kTagBytes> tag_bytes(tag, TlsTicketKeys::kTagBytes);
  *out_bytes = ticket_bytes;
  if (encrypt != 0) {
    std::memset(nonce, 0, WOLFSSL_TICKET_IV_SZ);
    std::memset(tag, 0, WOLFSSL_TICKET_MAC_SZ);
    return keys.encrypt(server_name, whole, name_bytes, nonce_bytes, tag_bytes, now)
               ? WOLFSSL_TICKET_RET_OK
               : WOLFSSL_TICKET_RET_FATAL;
  }
  return keys.decrypt(server_name, whole, name_bytes, nonce_bytes, tag_bytes, now)
             ? WOLFSSL_TICKET_RET_OK
             : WOLFSSL_TICKET_RET_REJECT;
}

int cheapness(CertificateKey key) {
  switch (key) {
    case CertificateKey::kP256:
      return 3;
    case CertificateKey::kP384:
      return 2;
    case CertificateKey::kRsa:
      return 1;
    default:
      return 0;
  }
}

std::string reason(int error) {
  return error < 0 ? wc_GetErrorString(error) : "not understood";
}

}  // namespace

std::expected<std::shared_ptr<const TlsServer>, TlsError> TlsServer::load(const Options& options) {
  MXRING_ASSERT(!options.certificates.empty());
  tls_library();
  std::shared_ptr<TlsServer> server(new TlsServer);
  server->ticket_keys_ = options.ticket_keys;
  server->for_rsa_only_ = options.for_rsa_only;
  for (const TlsCertificate& certificate : options.certificates) {
    if (auto added = server->add(certificate, options); !added) {
      return std::unexpected(added.error());
    }
  }
  return server;
}

std::expected<void, TlsError> TlsServer::add(const TlsCertificate& certificate,
                                             const Options& options) {
  identities_.push_back({.context = wolfSSL_CTX_new(wolfTLS_server_method()),
                         .names = certificate.names,
                         .key = certificate.key,
                         .like_first = identities_.empty()});
  Identity& identity = identities_.back();
  WOLFSSL_CTX* context = identity.context;
  const auto refuse = [&](std::string_view what) {
    return std::unexpected(
        TlsError{fmt::format("{}: {}", base::escaped(certificate.source), what)});
  };
  if (context == nullptr || !apply_tls_policy(context, options.tls12)) {
    return refuse("TLS could not be set up: out of memory");
  }
  const auto bytes = [](const std::string& text) {
    return reinterpret_cast<const unsigned char*>(text.data());
  };
  int result = wolfSSL_CTX_use_certificate_chain_buffer(
      context, bytes(certificate.chain_pem), static_cast<long>(certificate.chain_pem.size()));
  if (result != WOLFSSL_SUCCESS) {
    return refuse(fmt::format("the certificate chain cannot be used: {}", reason(result)));
  }
  result = wolfSSL_CTX_use_PrivateKey_buffer(context, bytes(certificate.key_pem),
                                             static_cast<long>(certificate.key_pem.size()),
                                             WOLFSSL_FILETYPE_PEM);
  // The key is looked at when it is taken, and compared with the certificate afterwards.
  if (result != WOLFSSL_SUCCESS) {
    return refuse(fmt::format("its private key cannot be used: {}; only RSA and ECDSA keys can",
                              reason(result)));
  }
  if (wolfSSL_CTX_check_private_key(context) != WOLFSSL_SUCCESS ||
      (is_ecdsa(certificate.key) && !ecdsa_key_matches(certificate))) {
    return refuse(
        "the private key belongs to another certificate; compare: openssl x509 -pubkey "
        "-noout -in CERTIFICATE, and openssl pkey -pubout -in KEY");
  }
  if (ticket_keys_ != nullptr) {
    wolfSSL_CTX_set_TicketEncCb(context, on_ticket);
    wolfSSL_CTX_set_TicketEncCtx(context, ticket_keys_.get());
    wolfSSL_CTX_set_TicketHint(context,
                               static_cast<int>(ticket_keys_->rotation_ns() / base::kNsPerSecond));
  } else {
    wolfSSL_CTX_set_TicketEncCb(context, nullptr);
    wolfSSL_CTX_NoTicketTLSv12(context);
    wolfSSL_CTX_no_ticket_TLSv13(context);
  }
  for (const std::string& name : identity.names) {
    const auto& first = identities_.front().names;
    if (std::ranges::find(first, name) != first.end()) identity.like_first = true;
  }
  wolfSSL_ERR_clear_error();
  return {};
}

TlsServer::~TlsServer() {
  for (const Identity& identity : identities_) wolfSSL_CTX_free(identity.context);
}

// An exact name before a wildcard, the wildcard before the first; among equals one that the client
// can check, by what a signature costs: RSA's is thirty times that of P-256.
std::size_t TlsServer::choose(const ClientHello& hello) const {
  constexpr int kNoFit = -1;
  std::size_t best = 0;
  int best_rank = kNoFit;
  for (std::size_t i = 0; i < identities_.size(); ++i) {
    const Identity& identity = identities_[i];
    int match = identity.like_first ? 1 : 0;
    for (const std::string& name : identity.names) {
      if (hello.server_name.empty() || !covers(name, hello.server_name)) continue;
      match = std::max(match, name == hello.server_name ? 3 : 2);
    }
    if (match == 0) continue;
    // A certificate it cannot check is no use, whatever its name.
    const int rank = (hello.takes(identity.key) ? 100 : 0) + match * 10 + cheapness(identity.key);
    if (rank > best_rank) {
      best_rank = rank;
      best = i;
    }
  }
  return best;
}

std::unique_ptr<TlsStream> TlsServer::accept(const ClientHello& hello,
                                             TlsTransport& transport) const {
  const Identity& identity = identities_[choose(hello)];
  if (for_rsa_only_.valid() && hello.takes_rsa && !hello.takes(identity.key)) {
    if (const auto other = for_rsa_only_.get(); other != nullptr) {
      return other->accept(hello, transport);
    }
  }
  TlsHeap heap;
  const TlsHeapInUse counted(heap);
  WOLFSSL* ssl = wolfSSL_new(identity.context);
  if (ssl == nullptr) return nullptr;
  // The hello outlives the session: both belong to the connection.
  wolfSSL_set_ex_data(ssl, kNameSlot, const_cast<std::string*>(&hello.server_name));
  if (hello.only_other_suites13) {
    wolfSSL_set_options(ssl, WOLFSSL_OP_NO_TLSv1_3);
    // The option has brought back every suite there is.
    wolfSSL_set_cipher_list(ssl, tls_suites().data());
  }
  return std::make_unique<TlsStream>(ssl, transport, RecordRules::Side::kServer, heap);
}

}  // namespace mxring::net
