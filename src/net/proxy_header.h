// The PROXY protocol header that a balancer puts before everything else on a connection, so that we
// know whose connection it is (versions 1 and 2 of HAProxy's specification, section 2).
//
// Contract: parse_proxy_header() looks at the first bytes of the connection and never keeps them.
//   kMore      it may still become a header: call again with more, from the beginning
//   kHeader    `bytes` of it are the header; what follows is the client's first byte
//   kBad       it is none, or a broken one; nothing of it is to be believed
// The answer for a prefix never changes when more bytes come: any split gives the same header.
// A version 1 line is 107 bytes at most; a version 2 header is refused when it is longer than
// kProxyHeaderBytesMax. Pure; allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/ip_address.h"

namespace mxring::net {

// The specification lets a sender append what it likes, up to 64 KiB; what HAProxy, nginx, Envoy
// and the load balancers of clouds send, a client certificate's name included, is below 1 KiB.
constexpr std::size_t kProxyHeaderBytesMax = 4096;

struct ProxyHeader {
  enum class State : std::uint8_t { kMore, kHeader, kBad };
  enum class Problem : std::uint8_t {
    kNone,
    kNoHeader,   // the connection begins with something else
    kMalformed,  // begins like one, but is not what the specification allows
    kTooLong,
    kChecksum,  // PP2_TYPE_CRC32C does not fit
  };

  State state = State::kMore;
  Problem problem = Problem::kNone;
  std::size_t bytes = 0;
  std::uint8_t version = 0;
  // LOCAL, UNKNOWN, AF_UNSPEC and AF_UNIX: the balancer speaks for itself, or cannot say for whom.
  bool has_client = false;
  base::IpAddress client;
  std::uint16_t client_port = 0;
  base::IpAddress destination;
  std::uint16_t destination_port = 0;
  bool client_used_tls = false;  // PP2_TYPE_SSL says so
};

[[nodiscard]] ProxyHeader parse_proxy_header(std::string_view bytes);
std::string_view describe(ProxyHeader::Problem problem);

}  // namespace mxring::net
