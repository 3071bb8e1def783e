// One shard: a pinned thread with its ring, listeners, receive buffers and conversations. Each loop
// turn makes one system call: it submits what the last turn queued, collects what has completed,
// and then handles all of it, so that replies gather per connection and commits gather per group.
//
//   Shard -> Acceptor, CheckBatch, MemoryGate -> Conversation -> net, smtp
//
// and back only through TurnContext, whose marks are what the rest of the turn works off. What
// belongs to the thread is in Core (shard.cc); in debug builds every turn ends with a look at all
// invariants.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "obs/counters.h"
#include "obs/histogram.h"
#include "obs/turn_ring.h"
#include "server/acceptor.h"
#include "server/client_rates.h"
#include "server/commit_thread.h"
#include "server/config.h"
#include "server/connection_gate.h"
#include "server/policy.h"
#include "server/resolver.h"
#include "smtp/session.h"
#include "uring/ring.h"

namespace mxring::server {

class BlockListHealth;
class Certificates;
class Journal;
class TraceBoard;
struct Tracers;

// Shared by all shards, owned by the server.
struct ShardShared {
  const Config& config;
  const RulesBoard& rules;
  ClientRates& rates;
  ConnectionGate& gate;
  CommitThread& writer;
  std::atomic<bool>& draining;
  // Shards that run and are not drained. A drained one goes on turning newcomers away until this is
  // 0: the kernel would otherwise hand it connections that nobody answers.
  std::atomic<std::uint32_t>& undrained;
  std::function<void(const std::string&)> notice;
  uring::FaultPlan* faults = nullptr;
  const Certificates* certificates = nullptr;  // none: no TLS at all
  ResolverHealth& resolver_health;
  BlockListHealth& list_health;
  Journal* journal = nullptr;          // none: nobody writes lines
  const TraceBoard* traces = nullptr;  // none: nobody follows dialogues
};

class Shard final {
 public:
  Shard(ShardShared shared, std::uint32_t number, int cpu, ShardListeners listeners,
        obs::CounterSet& counters);
  ~Shard();

  // Starts the thread and waits until it accepts connections, or says why it cannot.
  std::expected<void, std::string> start();
  // Any thread: look at `draining` and the writer's state now.
  void poke();
  void join();

  WriterLane& lane() { return *lane_; }
  // Loop turns so far (any thread). A shard that sleeps stands still until poke().
  std::uint64_t progress() const { return progress_.load(std::memory_order_relaxed); }
  bool ended() const { return ended_.load(std::memory_order_relaxed); }
  const obs::Histogram& accept_to_durable_ns() const { return durable_ns_; }

 private:
  struct Core;

  void run(std::function<void(std::string)> started);

  // The turn.
  void turn();
  std::int64_t wait_ns(bool accepting);
  void run_handshakes();
  void dispatch(const uring::Completion& completion);
  void on_accept(const uring::Completion& completion);
  void take_decided();
  bool gathers_more();
  void work_off();
  void end_turn();
  void resume_starved();
  void check_invariants();
  void check_at_rest();

  void start_draining();
  void drain_overdue();
  bool finished();

  void take_rules();
  void take_tracers();
  void count_activities();
  void arm_wake();
  void update_counters();
  void update_dns_counters();

  ShardShared shared_;
  const std::uint32_t number_;
  const int cpu_;
  ShardListeners listeners_;  // until the thread takes them
  obs::CounterSet& counters_;
  std::uint64_t rules_edition_ = 0;
  std::uint32_t trace_edition_ = 0;
  std::uint32_t activity_rounds_ = 0;
  std::shared_ptr<const Tracers> tracers_;

  int event_fd_ = -1;
  std::unique_ptr<WriterLane> lane_;
  std::thread thread_;
  // Written by the shard, read by whoever watches it: figures, nothing is ordered by them.
  std::atomic<std::uint64_t> progress_{0};
  obs::TurnRing turns_;  // the last ones, for the report of a crash
  std::atomic<bool> ended_{false};
  obs::Histogram durable_ns_;
  std::unique_ptr<Core> core_;  // while the thread runs
};

}  // namespace mxring::server
