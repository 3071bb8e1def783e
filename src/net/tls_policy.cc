#include "net/tls_policy.h"

#include <wolfssl/options.h>
// After options.h, which decides what the others declare.
#include <wolfssl/ssl.h>

#include <iterator>

#include "base/assert.h"
#include "net/record_cipher.h"
#include "net/tls_heap.h"

namespace mxring::net {

namespace {

// AES-GCM by libipsec-mb is the fastest by far, wolfSSL's own the slowest (src/DECISIONS.md,
// decisions by measurement): without the library ChaCha20 goes first in TLS 1.2. In TLS 1.3 it is
// not offered: only of AES-GCM do we see the plaintext before wolfSSL does (record_rules.h).
constexpr char kSuitesFastGcm[] =
    "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
constexpr char kSuitesSlowGcm[] =
    "TLS13-AES128-GCM-SHA256:TLS13-AES256-GCM-SHA384:"
    "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

}  // namespace

void tls_library() {
  static const int result = [] {
    count_tls_heap();
    return wolfSSL_Init();
  }();
  MXRING_ASSERT(result == WOLFSSL_SUCCESS);
}

std::string_view tls_suites() {
  return has_fast_gcm() ? kSuitesFastGcm : kSuitesSlowGcm;
}

bool apply_tls_policy(WOLFSSL_CTX* context, bool tls12) {
  bool good = wolfSSL_CTX_SetMinVersion(context, tls12 ? WOLFSSL_TLSV1_2 : WOLFSSL_TLSV1_3) ==
              WOLFSSL_SUCCESS;
  good = good && wolfSSL_CTX_set_cipher_list(context, tls_suites().data()) == WOLFSSL_SUCCESS;
  good = good && wolfSSL_CTX_SetDevId(context, record_cipher_device()) == WOLFSSL_SUCCESS;
  // client_hello.cc has the same.
  int groups[] = {
#if MXRING_X25519MLKEM768
    WOLFSSL_X25519MLKEM768,
#endif
    WOLFSSL_ECC_X25519,
    WOLFSSL_ECC_SECP256R1,
    WOLFSSL_ECC_SECP384R1
  };
  good = good && wolfSSL_CTX_set_groups(context, groups, std::size(groups)) == WOLFSSL_SUCCESS;
  wolfSSL_CTX_set_verify(context, WOLFSSL_VERIFY_NONE, nullptr);
  // The cache is one for the process, behind one lock; tickets need none.
  wolfSSL_CTX_set_session_cache_mode(context, WOLFSSL_SESS_CACHE_OFF);
  wolfSSL_CTX_set_group_messages(context);  // a flight leaves in one piece
  // Nobody reads the reason of a failure from wolfSSL's list later.
  wolfSSL_ERR_clear_error();
  return good;
}

}  // namespace mxring::net
