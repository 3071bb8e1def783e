// Question: what does SHA-256 cost a message when 1, 4, 16 or 64 messages are in flight, and which
// way of computing it is best for how many? Input: messages of 1, 10 and 100 KiB of mail text, each
// message's bytes given to the batch in pieces of 16 KiB (a received slice) or of a line, one flush
// for all of them. Units: bytes per second of one core, microseconds per message. Compared in one
// run: every path this processor has, the batch's own choice among them ("chosen"), and wolfCrypt.
//
//   sha256_bench --benchmark_enable_random_interleaving=true --benchmark_repetitions=5
#include <wolfssl/options.h>
// Options come first: they decide the layout of what follows.
#include <benchmark/benchmark.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "crypto/sha256_batch.h"

namespace {

using namespace mxring;
using crypto::Sha256Batch;
using crypto::Sha256Path;
using crypto::Sha256Stream;

constexpr std::size_t kSliceBytes = std::size_t{16} << 10;

std::vector<std::string> make_messages(std::size_t count, std::size_t size) {
  constexpr std::string_view kLine =
      "The quick brown fox jumps over the lazy dog, as it does in every such message.\r\n";
  std::vector<std::string> messages(count);
  for (std::size_t i = 0; i < count; ++i) {
    messages[i] = "Message " + std::to_string(i) + "\r\n";
    while (messages[i].size() < size) messages[i] += kLine;
    messages[i].resize(size);
  }
  return messages;
}

void report(benchmark::State& state, std::size_t count, std::size_t size) {
  const auto messages = static_cast<std::int64_t>(count);
  state.SetBytesProcessed(state.iterations() * messages * static_cast<std::int64_t>(size));
  state.counters["us/message"] =
      benchmark::Counter(static_cast<double>(state.iterations() * messages) * 1e-6,
                         benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void hash_batch(benchmark::State& state, std::vector<Sha256Path> paths, std::size_t piece_bytes) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const auto size = static_cast<std::size_t>(state.range(1));
  const std::vector<std::string> messages = make_messages(count, size);
  Sha256Batch batch(paths);
  std::deque<Sha256Stream> streams(count);
  for (auto _ : state) {
    for (std::size_t i = 0; i < count; ++i) {
      streams[i].reset();
      const std::string_view message = messages[i];
      for (std::size_t at = 0; at < size; at += piece_bytes) {
        batch.append(streams[i], message.substr(at, piece_bytes));
      }
      batch.finish(streams[i]);
    }
    batch.flush();
    for (const Sha256Stream& stream : streams) benchmark::DoNotOptimize(stream.digest());
  }
  report(state, count, size);
}

void hash_wolfcrypt(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  const auto size = static_cast<std::size_t>(state.range(1));
  const std::vector<std::string> messages = make_messages(count, size);
  wc_Sha256 hash;
  if (wc_InitSha256(&hash) != 0) std::abort();
  crypto::Sha256Digest digest;
  for (auto _ : state) {
    for (const std::string& message : messages) {
      wc_Sha256Update(&hash, reinterpret_cast<const byte*>(message.data()),
                      static_cast<word32>(message.size()));
      wc_Sha256Final(&hash, digest.data());
      benchmark::DoNotOptimize(digest);
    }
  }
  wc_Sha256Free(&hash);
  report(state, count, size);
}

// A long message that outlives fifteen short ones: the lanes must give way.
void long_tail(benchmark::State& state, std::vector<Sha256Path> paths) {
  constexpr std::size_t kShort = 1 << 10;
  constexpr std::size_t kLong = 1 << 20;
  const std::vector<std::string> short_ones = make_messages(15, kShort);
  const std::string long_one = make_messages(1, kLong).front();
  Sha256Batch batch(paths);
  std::deque<Sha256Stream> streams(16);
  for (auto _ : state) {
    for (Sha256Stream& stream : streams) stream.reset();
    for (std::size_t i = 0; i < 15; ++i) batch.append(streams[i], short_ones[i]);
    batch.append(streams[15], long_one);
    for (Sha256Stream& stream : streams) batch.finish(stream);
    batch.flush();
    benchmark::DoNotOptimize(streams[15].digest());
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(15 * kShort + kLong));
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"messages", "bytes"});
  for (const std::int64_t size : {1 << 10, 10 << 10, 100 << 10}) {
    for (const std::int64_t count : {1, 4, 16, 64}) bench->Args({count, size});
  }
}

// Where one path becomes better than another.
void crossover(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"messages", "bytes"});
  for (std::int64_t count = 1; count <= 20; ++count) bench->Args({count, 10 << 10});
}

void register_all() {
  struct Choice {
    std::string name;
    std::vector<Sha256Path> paths;
  };
  std::vector<Choice> choices;
  for (const Sha256Path path : crypto::sha256_paths()) {
    choices.push_back({std::string(word(path)), {path}});
  }
  choices.push_back({"chosen", {}});
  benchmark::RegisterBenchmark("slices/wolfcrypt", hash_wolfcrypt)->Apply(sizes);
  for (const Choice& choice : choices) {
    const auto& paths = choice.paths;
    benchmark::RegisterBenchmark(("slices/" + choice.name).c_str(), hash_batch, paths, kSliceBytes)
        ->Apply(sizes);
    benchmark::RegisterBenchmark(("crossover/" + choice.name).c_str(), hash_batch, paths,
                                 kSliceBytes)
        ->Apply(crossover);
    benchmark::RegisterBenchmark(("long_tail/" + choice.name).c_str(), long_tail, paths);
  }
  // The same bytes in a piece per line, or in still shorter ones: what gathering costs.
  for (const std::size_t piece_bytes : {8, 20, 80, 200, 400, 1000}) {
    benchmark::RegisterBenchmark(("pieces/" + std::to_string(piece_bytes)).c_str(), hash_batch,
                                 std::vector<Sha256Path>{}, piece_bytes)
        ->ArgNames({"messages", "bytes"})
        ->Args({1, 10 << 10})
        ->Args({16, 10 << 10});
  }
}

const bool registered = (register_all(), true);

}  // namespace
