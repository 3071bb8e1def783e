// What both sides of TLS allow, and the library's start. Private to net.
#pragma once

#include <string_view>

struct WOLFSSL_CTX;

namespace mxring::net {

// Starts wolfSSL once in this process.
void tls_library();

// Versions, suites in order of preference, curves, and everything that is switched off. False when
// wolfSSL has no memory or does not know one of them.
bool apply_tls_policy(WOLFSSL_CTX* context, bool tls12);

// wolfSSL's names, the preferred first.
std::string_view tls_suites();

}  // namespace mxring::net
