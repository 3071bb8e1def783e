// One mail on its way out, and how that ended.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace mxring::report {

enum class Fate : std::uint8_t {
  kUndecided,
  kAccepted,  // 2yz to the end of data: the other side answers for it now
  kPutOff,    // 4yz, or nobody could be talked to: worth another attempt
  kRefused,   // 5yz, or the domain takes no mail: final
  kTooLarge,  // over the server's SIZE: final
};

struct Letter {
  std::string mail_from;
  std::string rcpt_to;
  std::string host;        // the recipient's domain, in A-labels
  std::string content;     // CRLF lines, not dot-stuffed
  std::size_t number = 0;  // the owner's own

  Fate fate = Fate::kUndecided;
  std::uint32_t attempts = 0;
  int code = 0;        // of the reply that decided it; 0: there was none
  std::string reply;   // its text, or what went wrong; untrusted bytes
  std::string server;  // who said it: "mx.example.org [192.0.2.1]:25"
  std::string tls;     // "TLSv1.3 TLS_AES_128_GCM_SHA256"; empty: in the clear
};

}  // namespace mxring::report
