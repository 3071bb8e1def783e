// `mxring tune check`: what this host offers the receiver, one row a thing, with what to do about
// it.
//
// The checks read /proc and /sys through a Host and judge what was measured before (Measured), so
// that a test can invent any host. Measuring is in measure.h.
//
// Verdicts: a problem would break the promise (a 250 is durable) or the start; advice costs speed
// or head room; skipped says why the thing could not be seen here.
//
// Thread: any. Failure: none; what cannot be read is a skipped row.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/ip_address.h"
#include "tune/host.h"
#include "tune/measure.h"
#include "uring/probe.h"

namespace mxring::tune {

enum class Verdict : std::uint8_t { kOk, kAdvice, kProblem, kSkipped };
std::string_view word(Verdict verdict);

struct Row {
  std::string group;  // "kernel", "processor", "memory", "network", "disk", "limits", "dns"
  std::string name;
  Verdict verdict = Verdict::kOk;
  std::string current;
  std::string wanted;
  std::string why;      // what goes wrong otherwise
  std::string fix;      // commands for now
  std::string persist;  // and for the next start
  std::string undo;     // with the value it has now
  std::string effect;   // measured here, or "not measured: ..."
  std::string skipped;  // because
};

// What the receiver would run with, from its configuration.
struct Receiver {
  std::uint32_t connections = 20'000;
  std::uint64_t memory_bytes = 0;     // messages in flight, of one shard
  std::uint64_t dns_cache_bytes = 0;  // of one shard
  std::uint32_t buffer_bytes = 16 * 1024;
  std::uint32_t buffers_offered = 256;
  std::uint64_t segment_bytes = 0;
  std::uint32_t disk_reserve_percent = 5;
  std::uint32_t disk_reserve_segments = 4;
  bool durable = true;  // sync = "commit"
  bool asks_dns = true;
  std::vector<int> shard_cpus;  // -1 = not pinned
  std::vector<base::Endpoint> listen;
};

// Where the log is, or would be: the nearest folder above it that exists.
struct LogPlace {
  std::string directory;  // as configured
  std::string existing;   // itself or the nearest above it
  std::string problem;    // no folder, no right to write there
  std::string unfit;      // name of a file system that cannot keep the promise
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = 0;
  unsigned device_major = 0;  // of the device the file system is on
  unsigned device_minor = 0;
};
LogPlace find_log_place(const std::string& directory);

struct CheckInput {
  Host host;
  Receiver receiver;
  LogPlace place;
  uring::Features features;
  Measured measured;
};

std::vector<Row> run_checks(const CheckInput& input);

// The parts of it, each adding its rows.
void check_kernel(const CheckInput& input, std::vector<Row>& rows);     // check_kernel.cc
void check_limits(const CheckInput& input, std::vector<Row>& rows);     // check_limits.cc
void check_processor(const CheckInput& input, std::vector<Row>& rows);  // check_processor.cc
void check_memory(const CheckInput& input, std::vector<Row>& rows);     // check_memory.cc
void check_network(const CheckInput& input, std::vector<Row>& rows);    // check_network.cc
void check_queues(const CheckInput& input, std::vector<Row>& rows);     // check_queues.cc
void check_disk(const CheckInput& input, std::vector<Row>& rows);       // check_disk.cc
void check_dns(const CheckInput& input, std::vector<Row>& rows);        // check_dns.cc

// --- for those parts -------------------------------------------------------------------------

Row make_row(std::string_view group, std::string_view name, std::string_view why);
void skip(Row& row, std::string_view because);

// A kernel setting under /proc/sys that should be at least (or at most) so much.
struct SysctlRule {
  std::string_view group;
  std::string_view key;  // "net.core.somaxconn"
  std::int64_t wanted;
  bool at_most = false;
  std::string_view why;
};
Row sysctl_row(const Host& host, const SysctlRule& rule);
// fix, persist and undo for one such setting.
void advise_sysctl(Row& row, std::string_view key, std::string_view wanted,
                   std::string_view current);

}  // namespace mxring::tune
