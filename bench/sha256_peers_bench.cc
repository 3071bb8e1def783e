// Question: would a library compute SHA-256 in lanes quicker than our own intrinsics? Input: 16 or
// 64 whole messages of one size, a multiple of 64 bytes less padding. Unit: bytes per second of one
// core. Compared in one run: our kernels alone, the same in Google Highway, libipsec-mb's jobs
// (which hash whole messages only), and our batch with its bookkeeping.
#include <benchmark/benchmark.h>
#include <intel-ipsec-mb.h>

#include <cstdlib>
#include <deque>
#include <string>
#include <vector>

#include "bench/sha256_highway.h"
#include "crypto/sha256_batch.h"
#include "crypto/sha256_kernel.h"

namespace {

using namespace mxring::crypto;

std::vector<std::string> make_messages(const benchmark::State& state) {
  std::vector<std::string> messages(static_cast<std::size_t>(state.range(0)));
  for (std::size_t i = 0; i < messages.size(); ++i) {
    messages[i].assign(static_cast<std::size_t>(state.range(1)), static_cast<char>('a' + i % 26));
  }
  return messages;
}

void report(benchmark::State& state) {
  state.SetBytesProcessed(state.iterations() * state.range(0) * state.range(1));
}

// The compression function alone, without padding: what lanes could do at best.
void kernel(benchmark::State& state, Sha256Advance advance, std::size_t width) {
  const std::vector<std::string> messages = make_messages(state);
  const std::size_t blocks = static_cast<std::size_t>(state.range(1)) / 64;
  alignas(64) std::array<std::uint32_t, 8 * 16> states{};
  for (auto _ : state) {
    for (std::size_t i = 0; i < messages.size(); i += width) {
      std::array<const std::uint8_t*, 16> data;
      for (std::size_t lane = 0; lane < width; ++lane) {
        data[lane] = reinterpret_cast<const std::uint8_t*>(messages[i + lane].data());
      }
      advance(states.data(), data.data(), blocks);
      benchmark::DoNotOptimize(states);
    }
  }
  report(state);
}

void batch(benchmark::State& state) {
  const std::vector<std::string> messages = make_messages(state);
  Sha256Batch hashes;
  std::deque<Sha256Stream> streams(messages.size());
  for (auto _ : state) {
    for (std::size_t i = 0; i < messages.size(); ++i) {
      streams[i].reset();
      hashes.append(streams[i], messages[i]);
      hashes.finish(streams[i]);
    }
    hashes.flush();
    benchmark::DoNotOptimize(streams.back().digest());
  }
  report(state);
}

void check_digest(benchmark::State& state, const std::string& message, const Sha256Digest& got) {
  if (got != sha256(message)) state.SkipWithError("wrong digest");
}

void ipsec_mb(benchmark::State& state, void (*init)(IMB_MGR*)) {
  const std::vector<std::string> messages = make_messages(state);
  std::vector<Sha256Digest> digests(messages.size());
  IMB_MGR* const manager = alloc_mb_mgr(0);
  if (manager == nullptr) std::abort();
  init(manager);
  for (auto _ : state) {
    std::size_t done = 0;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      IMB_JOB* const job = IMB_GET_NEXT_JOB(manager);
      job->cipher_mode = IMB_CIPHER_NULL;
      job->cipher_direction = IMB_DIR_ENCRYPT;
      job->chain_order = IMB_ORDER_HASH_CIPHER;
      job->hash_alg = IMB_AUTH_SHA_256;
      job->src = reinterpret_cast<const std::uint8_t*>(messages[i].data());
      job->hash_start_src_offset_in_bytes = 0;
      job->msg_len_to_hash_in_bytes = messages[i].size();
      job->auth_tag_output = digests[i].data();
      job->auth_tag_output_len_in_bytes = digests[i].size();
      for (IMB_JOB* ready = IMB_SUBMIT_JOB_NOCHECK(manager); ready != nullptr;
           ready = IMB_GET_COMPLETED_JOB(manager)) {
        ++done;
      }
    }
    while (IMB_FLUSH_JOB(manager) != nullptr) ++done;
    if (done != messages.size()) state.SkipWithError("jobs lost");
    benchmark::DoNotOptimize(digests.back());
  }
  check_digest(state, messages.front(), digests.front());
  check_digest(state, messages.back(), digests.back());
  free_mb_mgr(manager);
  report(state);
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgNames({"messages", "bytes"});
  for (const std::int64_t size : {1 << 10, 10 << 10, 100 << 10}) {
    for (const std::int64_t count : {16, 64}) bench->Args({count, size});
  }
}

void register_all() {
  for (const Sha256Kernel& ours : sha256_kernels()) {
    benchmark::RegisterBenchmark(("kernel/" + std::string(ours.name)).c_str(), kernel, ours.advance,
                                 ours.width)
        ->Apply(sizes);
  }
  if (__builtin_cpu_supports("avx512vbmi2") != 0) {
    benchmark::RegisterBenchmark("kernel/highway x16", kernel, highway_advance_x16, 16)
        ->Apply(sizes);
    benchmark::RegisterBenchmark("ipsec-mb avx512", ipsec_mb, init_mb_mgr_avx512)->Apply(sizes);
  }
  if (__builtin_cpu_supports("avx2") != 0) {
    benchmark::RegisterBenchmark("ipsec-mb avx2", ipsec_mb, init_mb_mgr_avx2)->Apply(sizes);
  }
  benchmark::RegisterBenchmark("ipsec-mb sse", ipsec_mb, init_mb_mgr_sse)->Apply(sizes);
  benchmark::RegisterBenchmark("batch", batch)->Apply(sizes);
}

const bool registered = (register_all(), true);

}  // namespace
