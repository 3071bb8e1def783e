// What can be measured on this host in a few seconds, bounded in time, bytes and descriptors. Each
// measurement is on its own, cleans up behind itself, and leaves a reason when it could not be
// made.
//
// Thread: the caller's; no further thread for the connection burst's listener is needed,
// because the kernel fills the backlog by itself.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::tune {

// What one commit of this many bytes costs: the write into blocks written before, and fdatasync.
struct CommitCost {
  std::uint64_t batch_bytes = 0;
  std::uint32_t commits = 0;
  std::int64_t p50_ns = 0;
  std::int64_t p99_ns = 0;
};

struct Measured {
  std::int64_t clock_ns = 0;        // one reading of the monotonic clock; 0 = not measured
  std::int64_t system_call_ns = 0;  // one system call that does nothing

  std::vector<CommitCost> commits;
  std::string commits_skipped;
  std::int64_t commit_beside_dirty_ns = 0;  // p50 of the smallest batch while others' bytes wait

  double page_small_ns = 0;  // one random read in a buffer pool of small pages
  double page_huge_ns = 0;   // and of huge pages
  std::string pages_skipped;

  double busy_ns = 0;   // a fixed piece of work on a core that is busy
  double woken_ns = 0;  // and on one that has just been idle

  std::uint32_t burst = 0;        // connections opened at once to a listener that does not accept
  std::uint32_t burst_taken = 0;  // of them established at once
  std::string burst_skipped;

  std::int64_t ring_ns = 0;  // to make one shard's ring and receive buffers
  std::string ring_problem;

  std::vector<std::int64_t> resolver_ns;  // round trips, one question each
  std::string resolver;                   // which one
  std::string resolver_problem;
  bool clock_synchronised = true;
};

struct MeasureOptions {
  bool disk = true;
  std::string directory;  // where the log's file system is; files are made and removed here
  std::uint64_t free_bytes = 0;
  std::uint32_t buffer_bytes = 16 * 1024;
  std::uint32_t buffers_offered = 256;
  std::uint32_t backlog = 4096;
};

// All but the resolver, which the caller asks with the client it has. `doing` is told each step.
Measured measure(const MeasureOptions& options,
                 const std::function<void(std::string_view)>& doing = {});

void measure_commits(const MeasureOptions& options, Measured& out);  // measure_disk.cc
void measure_clock(Measured& out);                                   // measure.cc
void measure_pages(Measured& out);                                   // measure.cc
void measure_waking(Measured& out);                                  // measure.cc
void measure_burst(const MeasureOptions& options, Measured& out);    // measure_network.cc
void measure_ring(const MeasureOptions& options, Measured& out);     // measure.cc

}  // namespace mxring::tune
