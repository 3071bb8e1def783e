// Question: what does checking a signature cost when so many are pending at once? Input: RSA with
// exponent 65537, each signature under a key of its own; the numbers are random, so none of them
// matches, which costs the same. Unit: microseconds of one core per signature. Compared in one run:
// the lanes and wolfCrypt; Ed25519 and parsing a key beside them.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "crypto/der.h"
#include "crypto/ed25519.h"
#include "crypto/private_key.h"
#include "crypto/rsa.h"

namespace {

using namespace mxring::crypto;

std::string random_octets(std::mt19937_64& random, std::size_t size) {
  std::string out(size, '\0');
  for (char& octet : out) octet = static_cast<char>(random());
  return out;
}

std::string key_der(std::mt19937_64& random, std::size_t bits) {
  std::string modulus = random_octets(random, bits / 8);
  modulus.front() = static_cast<char>(modulus.front() | 0x80);
  modulus.back() = static_cast<char>(modulus.back() | 1);
  std::string numbers;
  append_der(numbers, DerTag::kInteger, '\0' + modulus);
  append_der(numbers, DerTag::kInteger, std::string_view("\x01\x00\x01", 3));
  std::string der;
  append_der(der, DerTag::kSequence, numbers);
  return der;
}

struct Pending {
  std::vector<RsaPublicKey> keys;
  std::vector<std::string> signatures;
  std::vector<RsaCheck> checks;
  std::vector<RsaCheck*> order;

  Pending(std::size_t bits, std::size_t count) {
    std::mt19937_64 random(bits);
    for (std::size_t i = 0; i < count; ++i) {
      keys.push_back(std::move(RsaPublicKey::parse(key_der(random, bits)).value()));
      signatures.push_back(random_octets(random, bits / 8));
      signatures.back().front() = '\x7f';  // below any of these moduli
    }
    for (std::size_t i = 0; i < count; ++i) {
      checks.push_back({&keys[i], signatures[i], sha256(signatures[i])});
    }
    for (RsaCheck& check : checks) order.push_back(&check);
  }
};

void per_signature(benchmark::State& state, std::size_t count) {
  state.counters["per_signature"] =
      benchmark::Counter(static_cast<double>(count), benchmark::Counter::kIsIterationInvariantRate |
                                                         benchmark::Counter::kInvert);
}

void verify_rsa(benchmark::State& state, RsaPath path) {
  const auto count = static_cast<std::size_t>(state.range(1));
  if (std::ranges::find(rsa_paths(), path) == rsa_paths().end()) {
    state.SkipWithError("not on this processor");
    return;
  }
  Pending pending(static_cast<std::size_t>(state.range(0)), count);
  RsaVerifier verifier({&path, 1});
  for (auto _ : state) {
    verifier.verify(pending.order);
    benchmark::DoNotOptimize(pending.checks.data());
    benchmark::ClobberMemory();
  }
  per_signature(state, count);
}

void verify_ed25519(benchmark::State& state) {
  auto key = PrivateKey::generate_ed25519().value();
  const Sha256Digest digest = sha256("text");
  const std::string signature = key.sign(digest).value();
  const std::string_view message(reinterpret_cast<const char*>(digest.data()), digest.size());
  Ed25519PublicKey point{};
  std::ranges::copy(key.public_key(), point.begin());
  for (auto _ : state) {
    if (!ed25519_verify(point, signature, message)) state.SkipWithError("does not verify");
  }
  per_signature(state, 1);
}

void parse_key(benchmark::State& state) {
  std::mt19937_64 random(1);
  const std::string der = key_der(random, static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(RsaPublicKey::parse(der));
}

const std::vector<std::vector<std::int64_t>> kSizesAndCounts = {{1024, 1536, 2048, 3072, 4096},
                                                                {1, 2, 4, 8, 16, 64}};

BENCHMARK_CAPTURE(verify_rsa, lanes, RsaPath::kLanes)
    ->ArgNames({"bits", "pending"})
    ->ArgsProduct(kSizesAndCounts)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(verify_rsa, wolfcrypt, RsaPath::kWolfCrypt)
    ->ArgNames({"bits", "pending"})
    ->ArgsProduct(kSizesAndCounts)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(verify_ed25519)->Unit(benchmark::kMicrosecond);
BENCHMARK(parse_key)->ArgName("bits")->Arg(1024)->Arg(2048)->Arg(4096)->Unit(
    benchmark::kMicrosecond);

}  // namespace
