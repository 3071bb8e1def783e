// A TLS client and a TLS server that talk through memory, for the tests of this folder.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls_certificate.h"
#include "net/tls_client.h"
#include "net/tls_server.h"
#include "net/tls_stream.h"

namespace mxring::net {

// What one side sent and the other has not taken yet.
struct MemoryTransport final : TlsTransport {
  std::string inward;
  std::string outward;
  std::size_t take(std::span<char> into) override {
    const std::size_t n = std::min(into.size(), inward.size());
    std::copy_n(inward.begin(), n, into.begin());
    inward.erase(0, n);
    return n;
  }
  void put(std::string_view ciphertext) override { outward += ciphertext; }
};

inline TlsCertificate certificate_for(std::string_view name) {
  auto made = make_certificate(name);
  EXPECT_TRUE(made.has_value()) << made.error().message;
  return *std::move(made);
}

inline std::shared_ptr<const TlsServer> server_with(
    std::vector<TlsCertificate> certificates, std::shared_ptr<TlsTicketKeys> tickets = nullptr,
    bool tls12 = true) {
  auto server = TlsServer::load(
      {.certificates = std::move(certificates), .tls12 = tls12, .ticket_keys = std::move(tickets)});
  EXPECT_TRUE(server.has_value()) << server.error().message;
  return server.has_value() ? *server : nullptr;
}

inline std::shared_ptr<const TlsClient> client_for(std::string_view name = {}) {
  auto client = TlsClient::create({.authorities_file = {}, .server_name = std::string(name)});
  EXPECT_TRUE(client.has_value()) << client.error().message;
  return *client;
}

// Both ends after the handshake; nullptr streams when it failed.
struct TlsPair {
  ClientHello hello;
  MemoryTransport client_side;
  MemoryTransport server_side;
  std::unique_ptr<TlsStream> client;
  std::unique_ptr<TlsStream> server;
  bool open = false;

  void exchange() {
    server_side.inward += client_side.outward;
    client_side.outward.clear();
    client_side.inward += server_side.outward;
    server_side.outward.clear();
  }

  TlsPair(const TlsClient& from, const TlsServer& to) {
    client = from.connect(client_side);
    client->handshake();
    exchange();
    if (read_client_hello(server_side.inward, hello) != HelloOutcome::kHello) return;
    server = to.accept(hello, server_side);
    bool server_done = false;
    bool client_done = false;
    for (int turn = 0; turn < 6 && !(server_done && client_done); ++turn) {
      if (!server_done) server_done = server->handshake() == TlsStatus::kDone;
      exchange();
      if (!client_done) client_done = client->handshake() == TlsStatus::kDone;
      exchange();
    }
    open = server_done && client_done;
  }

  // Sends text through one side and reads it at the other.
  static std::string carry(TlsStream& from, TlsStream& to, TlsPair& pair, std::string_view text) {
    EXPECT_EQ(from.write(text), TlsStatus::kDone);
    pair.exchange();
    std::string received;
    std::vector<char> piece(20'000);
    std::size_t got = 0;
    while (to.read(piece, got) == TlsStatus::kDone) received.append(piece.data(), got);
    return received;
  }
};

}  // namespace mxring::net
