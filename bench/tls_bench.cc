// Question: what do a TLS record and the server's side of a handshake cost, without a kernel in
// between? Input: TLS 1.3, X25519, ECDSA P-256; records of 1, 4 and 16 KiB. Unit: bytes per second
// and microseconds of one core. Compared in one run: AES-128-GCM by libipsec-mb and by wolfSSL.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/tls_client.h"
#include "net/tls_client_link.h"
#include "net/tls_server.h"

namespace {

using namespace mxring;
using namespace mxring::net;

struct Memory final : TlsTransport {
  std::string inward;
  std::string outward;
  std::size_t taken = 0;
  std::size_t take(std::span<char> into) override {
    const std::size_t n = std::min(into.size(), inward.size() - taken);
    std::copy_n(inward.begin() + static_cast<std::ptrdiff_t>(taken), n, into.begin());
    taken += n;
    if (taken == inward.size()) {
      inward.clear();
      taken = 0;
    }
    return n;
  }
  void put(std::string_view ciphertext) override { outward += ciphertext; }
};

struct Sides {
  std::shared_ptr<const TlsServer> server;
  std::shared_ptr<const TlsClient> client;
  Sides() {
    server = *TlsServer::load(
        {.certificates = {*make_certificate("bench.example")},
         .tls12 = true,
         .ticket_keys = std::make_shared<TlsTicketKeys>(3600 * base::kNsPerSecond)});
    client = *TlsClient::create({});
  }
};

const Sides& sides() {
  static const Sides made;
  return made;
}

// A connection between two ends in memory, the time of the server's end taken apart.
struct Pair {
  ClientHello hello;
  Memory client_side;
  Memory server_side;
  std::unique_ptr<TlsStream> client;
  std::unique_ptr<TlsStream> server;
  std::int64_t server_ns = 0;

  Pair() {
    client = sides().client->connect(client_side);
    client->handshake();
    server_side.inward = std::exchange(client_side.outward, {});
    for (int turn = 0; turn < 4; ++turn) {
      const std::int64_t begin = base::read_clocks().mono.ns;
      if (server == nullptr) {
        read_client_hello(server_side.inward, hello);
        server = sides().server->accept(hello, server_side);
      }
      const TlsStatus status = server->handshake();
      server_ns += base::read_clocks().mono.ns - begin;
      client_side.inward += std::exchange(server_side.outward, {});
      const TlsStatus client_status = client->handshake();
      server_side.inward += std::exchange(client_side.outward, {});
      if (status == TlsStatus::kDone && client_status == TlsStatus::kDone) return;
    }
    std::abort();
  }
};

void full_handshake(benchmark::State& state) {
  for (auto _ : state) {
    Pair pair;
    state.SetIterationTime(static_cast<double>(pair.server_ns) / 1e9);
  }
}

void seal(benchmark::State& state, bool fast) {
  Pair pair;
  use_fast_gcm(fast);
  const std::string text(static_cast<std::size_t>(state.range(0)), 'x');
  for (auto _ : state) {
    pair.server->write(text);
    pair.server_side.outward.clear();
  }
  use_fast_gcm(true);
  state.SetLabel(std::string(pair.server->facts().cipher));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

void open(benchmark::State& state, bool fast) {
  constexpr int kRecords = 64;
  Pair pair;
  const std::string text(static_cast<std::size_t>(state.range(0)), 'x');
  std::vector<char> piece(16'384);
  for (auto _ : state) {
    state.PauseTiming();
    for (int i = 0; i < kRecords; ++i) pair.client->write(text);
    pair.server_side.inward = std::exchange(pair.client_side.outward, {});
    use_fast_gcm(fast);
    state.ResumeTiming();
    std::size_t got = 0;
    for (int i = 0; i < kRecords; ++i) {
      if (pair.server->read(piece, got) != TlsStatus::kDone) std::abort();
    }
    use_fast_gcm(true);
  }
  state.SetLabel(std::string(pair.server->facts().cipher));
  state.SetBytesProcessed(state.iterations() * state.range(0) * kRecords);
}

BENCHMARK(full_handshake)->UseManualTime()->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(seal, libipsec_mb, true)->Arg(1024)->Arg(4096)->Arg(16'384);
BENCHMARK_CAPTURE(seal, wolfssl, false)->Arg(1024)->Arg(4096)->Arg(16'384);
BENCHMARK_CAPTURE(open, libipsec_mb, true)->Arg(1024)->Arg(4096)->Arg(16'384);
BENCHMARK_CAPTURE(open, wolfssl, false)->Arg(1024)->Arg(4096)->Arg(16'384);

}  // namespace
