// What a TLS server wants to know of a ClientHello before it answers: the name asked for, and
// which certificates it can check (RFC 8446 4.1.2, RFC 6066 3, RFC 8422). The
// certificate is chosen from this, and a connection that never gets as far as a whole ClientHello
// costs no TLS state.
//
// Pure. read_client_hello() looks at the beginning of a connection's bytes: one or more handshake
// records that hold the message. It judges only what it needs; everything else is left to the TLS
// library, which reads the same bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "net/certificate_key.h"
#include "net/ja4.h"

namespace mxring::net {

// RFC 8446 allows 2^24; nobody's hello is near this, post-quantum key shares included.
constexpr std::size_t kClientHelloBytesMax = 32 * 1024;
constexpr std::size_t kServerNameBytesMax = 255;

struct ClientHello {
  // Lower case, without a final dot; empty when none was sent or it is no host name of letters,
  // digits, hyphens, underscores and dots.
  std::string server_name;
  bool server_name_refused = false;  // one was sent, and it is no such name
  bool takes_tls13 = false;
  // It would take TLS 1.3, but with none of our suites for it: 1.2 is left.
  bool only_other_suites13 = false;
  bool shares_group = true;  // a curve for the key exchange that we have, too
  // The kinds of certificate that it can check, in the version and the cipher suites that it and we
  // have.
  bool takes_rsa = false;
  bool takes_p256 = false;
  bool takes_p384 = false;
  bool takes_p521 = false;
  Ja4 fingerprint;
  bool takes(CertificateKey key) const;
};

enum class HelloOutcome : std::uint8_t {
  kMore,       // not all of it is here
  kHello,      // `hello` was filled
  kNotTls,     // something else is being spoken
  kMalformed,  // or too large
};

// A hello that is cut into records in an unusual way, though allowed, is put into one: the TLS
// library wants its first bytes together, and nothing is signed or encrypted yet that would notice.
struct HelloRecords {
  std::size_t wire_bytes = 0;  // of the records that hold the hello, as they came
  std::string rewritten;       // the same in one record; empty when it came like that
};

HelloOutcome read_client_hello(std::string_view bytes, ClientHello& hello,
                               HelloRecords* records = nullptr);

}  // namespace mxring::net
