// Questions: what does a commit cost beside the disk's own work, by batch and message size? What
// does it cost with the disk? What does encoding and decoding the metadata of a message cost?
// Input: messages of one repeated letter with metadata as the receiver writes it (about 300 bytes);
// a fresh log in the working directory, which must be on a local disk. The segment is 64 MiB and
// rolls, and retention keeps the log at 256 MiB.
// Unit: time per record (items per second) on the committing thread; CPU column = CPU time of that
// thread. "sync:0" commits without syncs, "sync:1" as in production.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "seglog/metadata.h"
#include "seglog/writer.h"

namespace {

using namespace mxring::seglog;

void encode(std::string& bytes) {
  MetadataWriter out(bytes);
  out.text(MetadataTag::kClientIp, "192.0.2.25");
  out.u16(MetadataTag::kClientPort, 34567);
  out.text(MetadataTag::kHelo, "outbound.mail.example.net");
  out.text(MetadataTag::kProtocol, "ESMTP");
  out.text(MetadataTag::kMailFrom, "sender@example.net");
  out.recipient("recipient@example.org", "", 0);
  out.text(MetadataTag::kDisposition, "accept");
  out.text(
      MetadataTag::kTrace,
      "Return-Path: <sender@example.net>\r\n"
      "Received: from outbound.mail.example.net ([192.0.2.25]) by mx.example.org with ESMTP\r\n"
      "        for <recipient@example.org>; Sun, 22 Nov 2026 01:02:03 +0000\r\n");
}

void metadata_encode(benchmark::State& state) {
  std::string bytes;
  for (auto _ : state) {
    bytes.clear();
    encode(bytes);
    benchmark::DoNotOptimize(bytes.data());
  }
}
BENCHMARK(metadata_encode);

void metadata_decode(benchmark::State& state) {
  std::string bytes;
  encode(bytes);
  mxring::Record record;
  for (auto _ : state) benchmark::DoNotOptimize(decode_metadata(bytes, record));
}
BENCHMARK(metadata_decode);

void commit(benchmark::State& state) {
  const auto batch_records = static_cast<std::size_t>(state.range(0));
  const std::string message(static_cast<std::size_t>(state.range(1)), 'm');
  std::string pattern = (std::filesystem::current_path() / "seglog-bench-XXXXXX").string();
  const std::filesystem::path directory = ::mkdtemp(pattern.data());
  WriterOptions options;
  options.directory = directory / "log";
  options.segment_bytes = 64 << 20;
  options.retain_bytes = 256 << 20;
  options.sync = state.range(2) == 0 ? Sync::kNone : Sync::kCommit;
  auto writer = Writer::open(options);
  if (!writer) {
    state.SkipWithError(writer.error().message.c_str());
    return;
  }
  std::string metadata;
  encode(metadata);
  const iovec slice{const_cast<char*>(message.data()), message.size()};
  Append record;
  record.message = {&slice, 1};
  record.message_bytes = message.size();
  record.message_crc32c = mxring::base::crc32c(0, message.data(), message.size());
  record.metadata = metadata;
  record.received_at_us = 1'700'000'000'000'000;
  const std::vector<Append> batch(batch_records, record);
  const std::uint64_t calls_before = writer->totals().system_calls;
  for (auto _ : state) {
    if (!writer->commit(batch)) {
      state.SkipWithError(std::string(writer->failure()).c_str());
      break;
    }
  }
  const auto records = state.iterations() * state.range(0);
  state.SetItemsProcessed(records);
  state.SetBytesProcessed(records * state.range(1));
  state.counters["calls_per_commit"] =
      benchmark::Counter(static_cast<double>(writer->totals().system_calls - calls_before) /
                         static_cast<double>(state.iterations()));
  writer->close();
  std::filesystem::remove_all(directory);
}
BENCHMARK(commit)
    ->ArgNames({"batch", "bytes", "sync"})
    ->ArgsProduct({{1, 8, 32}, {1024, 10240, 102400}, {0, 1}})
    ->UseRealTime()
    ->MinTime(0.2);

}  // namespace
