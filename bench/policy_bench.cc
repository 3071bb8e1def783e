// What does it cost to know one's recipients and one's enemies?
//
// Input: a file of MXRING_RECIPIENTS lines (ten million unless the environment says otherwise) of
// 25 to 31 bytes, and 100,000 networks of eight lengths of prefix; look-ups at random over the
// whole. Prints the time to read the file, the bytes it holds for each line, and ns for a look-up.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "server/access.h"
#include "server/recipients.h"

namespace {

using namespace mxring;

std::uint64_t lines() {
  const char* wanted = std::getenv("MXRING_RECIPIENTS");
  return wanted == nullptr ? 10'000'000 : std::strtoull(wanted, nullptr, 10);
}

std::string address(std::uint64_t i) {
  return fmt::format("user{}@domain{}.example", i, i % 5000);
}

const server::Recipients& recipients() {
  static const server::Recipients made = [] {
    std::string path = "/tmp/recipients.XXXXXX";
    std::FILE* file = ::fdopen(::mkstemp(path.data()), "w");
    for (std::uint64_t i = 0; i < lines(); ++i) fmt::print(file, "{}\n", address(i));
    std::fclose(file);
    server::Recipients read({}, "+");
    const auto begun = std::chrono::steady_clock::now();
    const auto done = read.read(path);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
    std::remove(path.c_str());
    if (!done) std::abort();
    fmt::print(stderr, "{} lines in {:.2f} s, {:.1f} bytes a line\n", lines(), took.count(),
               static_cast<double>(read.memory_bytes()) / static_cast<double>(lines()));
    return read;
  }();
  return made;
}

// Addresses prepared beforehand: what is measured is the look-up.
void look_up(benchmark::State& state, const char* format) {
  const server::Recipients& all = recipients();
  std::mt19937_64 random(1);
  std::vector<std::string> asked;
  for (int i = 0; i < 1 << 16; ++i) {
    const std::uint64_t number = random() % lines();
    asked.push_back(fmt::format(fmt::runtime(format), number, number % 5000));
  }
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(all.find(asked[at]));
    at = (at + 1) & 0xFFFF;
  }
}

void BM_RecipientKnown(benchmark::State& state) {
  look_up(state, "user{}@domain{}.example");
}
void BM_RecipientWithExtension(benchmark::State& state) {
  look_up(state, "user{}+list@domain{}.example");
}
void BM_RecipientUnknown(benchmark::State& state) {
  look_up(state, "nobody{}@domain{}.example");
}
void BM_RecipientElsewhere(benchmark::State& state) {
  look_up(state, "user{}@other{}.example");
}
BENCHMARK(BM_RecipientKnown);
BENCHMARK(BM_RecipientWithExtension);
BENCHMARK(BM_RecipientUnknown);
BENCHMARK(BM_RecipientElsewhere);

void BM_AccessNetworks(benchmark::State& state) {
  server::Access access;
  std::mt19937 random(2);
  for (std::uint32_t i = 0; i < 100'000; ++i) {
    const unsigned length = 17 + i % 8;
    const std::uint32_t network = static_cast<std::uint32_t>(random()) & ~std::uint32_t{0}
                                                                             << (32 - length);
    if (!access.add_line(fmt::format("deny client {}.{}.{}.{}/{}", network >> 24,
                                     network >> 16 & 255, network >> 8 & 255, network & 255,
                                     length))) {
      std::abort();
    }
  }
  std::vector<base::IpAddress> clients;
  for (int i = 0; i < 1 << 12; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    const auto byte = [bits](unsigned shift) { return static_cast<std::uint8_t>(bits >> shift); };
    clients.push_back(base::IpAddress::v4({byte(24), byte(16), byte(8), byte(0)}));
  }
  std::size_t at = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(access.find({.client = clients[at],
                                          .helo = "mail.example.net",
                                          .sender = "joe@example.net",
                                          .recipient = "jane@example.org"}));
    at = (at + 1) & 0xFFF;
  }
  state.counters["bytes/rule"] =
      static_cast<double>(access.memory_bytes()) / static_cast<double>(access.rules());
}
BENCHMARK(BM_AccessNetworks);

}  // namespace
