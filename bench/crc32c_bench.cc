// Question: how fast is CRC32C with the processor's instruction, and what does a machine without
// it pay?
// Input: pseudo-random bytes, 64 B to 1 MiB, read again and again (in cache up to the size of the
// cache). Unit: bytes per second, and time per call.
#include <benchmark/benchmark.h>

#include <vector>

#include "base/crc32c.h"

namespace {

std::vector<char> input(std::size_t size) {
  std::vector<char> bytes(size);
  std::uint32_t state = 1;
  for (char& c : bytes) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return bytes;
}

template <auto Function>
void checksum(benchmark::State& state) {
  const auto bytes = input(static_cast<std::size_t>(state.range(0)));
  std::uint32_t crc = 0;
  for (auto _ : state) {
    crc = Function(crc, bytes.data(), bytes.size());
    benchmark::DoNotOptimize(crc);
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

BENCHMARK(checksum<mxring::base::crc32c>)->Name("crc32c")->RangeMultiplier(4)->Range(64, 1 << 20);
BENCHMARK(checksum<mxring::base::crc32c_portable>)
    ->Name("crc32c_portable")
    ->RangeMultiplier(4)
    ->Range(64, 1 << 20);

}  // namespace
