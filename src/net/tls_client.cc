#include "net/tls_client.h"

#include <fmt/format.h>
#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/ssl.h>

#include "base/text.h"
#include "net/tls_policy.h"

namespace mxring::net {

std::expected<std::shared_ptr<const TlsClient>, TlsError> TlsClient::create(
    const Options& options) {
  tls_library();
  std::shared_ptr<TlsClient> client(new TlsClient);
  client->options_ = options;
  client->context_ = wolfSSL_CTX_new(wolfTLS_client_method());
  WOLFSSL_CTX* context = client->context_;
  if (context == nullptr || !apply_tls_policy(context, true)) {
    return std::unexpected(TlsError{"TLS could not be set up: out of memory"});
  }
  if (options.authorities_file.empty()) return client;
  const int loaded =
      wolfSSL_CTX_load_verify_locations(context, options.authorities_file.c_str(), nullptr);
  wolfSSL_ERR_clear_error();
  if (loaded != WOLFSSL_SUCCESS) {
    return std::unexpected(
        TlsError{fmt::format("{}: no certificate authorities could be read from "
                             "it: expected a PEM file",
                             base::escaped(options.authorities_file))});
  }
  wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_PEER, nullptr);
  return client;
}

TlsClient::~TlsClient() {
  if (context_ != nullptr) wolfSSL_CTX_free(context_);
}

std::unique_ptr<TlsStream> TlsClient::connect(TlsTransport& transport,
                                              const std::string& name) const {
  TlsHeap heap;
  const TlsHeapInUse counted(heap);
  WOLFSSL* ssl = wolfSSL_new(context_);
  if (ssl == nullptr) return nullptr;
  if (!name.empty()) {
    wolfSSL_UseSNI(ssl, WOLFSSL_SNI_HOST_NAME, name.data(),
                   static_cast<unsigned short>(name.size()));
    if (!options_.authorities_file.empty()) wolfSSL_check_domain_name(ssl, name.c_str());
  }
  return std::make_unique<TlsStream>(ssl, transport, RecordRules::Side::kClient, heap);
}

}  // namespace mxring::net
