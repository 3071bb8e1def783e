// TLS on one connection of a client: ciphertext received and to be sent, around a TlsStream. Who
// owns the connection moves the bytes.
//
// Thread: the connection's.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/tls_client.h"
#include "net/tls_stream.h"

namespace mxring::net {

struct TlsClientLink final : TlsTransport {
  explicit TlsClientLink(const TlsClient& context) : stream(context.connect(*this)) {}
  TlsClientLink(const TlsClient& context, const std::string& server_name)
      : stream(context.connect(*this, server_name)) {}

  std::string_view inward;            // received just now; the stream takes all of it
  std::string outward;                // encrypted, on its way to the ring
  std::unique_ptr<TlsStream> stream;  // null: no memory for it

  std::size_t take(std::span<char> into) override {
    const std::size_t n = std::min(into.size(), inward.size());
    std::memcpy(into.data(), inward.data(), n);
    inward.remove_prefix(n);
    return n;
  }
  void put(std::string_view ciphertext) override { outward += ciphertext; }
};

}  // namespace mxring::net
