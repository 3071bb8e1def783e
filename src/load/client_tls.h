// TLS on one of the load generator's connections: ciphertext received and to be sent, around a
// net::TlsStream.
//
// Thread: the worker's.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/tls_client.h"
#include "net/tls_stream.h"

namespace mxring::load {

struct ClientTls final : net::TlsTransport {
  explicit ClientTls(const net::TlsClient& context) : stream(context.connect(*this)) {}

  std::string_view inward;  // received just now; the stream takes all of it
  std::string outward;      // encrypted, not handed to the ring yet
  std::string in_flight;    // being sent
  std::unique_ptr<net::TlsStream> stream;

  std::size_t take(std::span<char> into) override {
    const std::size_t n = std::min(into.size(), inward.size());
    std::memcpy(into.data(), inward.data(), n);
    inward.remove_prefix(n);
    return n;
  }
  void put(std::string_view ciphertext) override { outward += ciphertext; }
};

}  // namespace mxring::load
