// One shard: a pinned thread with its ring, listeners, receive buffers and clients. Each loop turn
// makes one system call: it submits what the last turn queued, collects what has completed, and
// then handles all of it, so that replies gather per connection and commits gather per group.
//
// Files: shard.cc the loop and accepting, shard_client.cc the dialogue, shard_tls.cc how a
// connection becomes encrypted, shard_check.cc what is looked up and verified about a message,
// shard_memory.cc what happens when message memory runs short.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/slot_pool.h"
#include "crypto/rsa.h"
#include "crypto/sha256_batch.h"
#include "net/connection.h"
#include "net/listener.h"
#include "obs/counters.h"
#include "obs/histogram.h"
#include "obs/stage_clock.h"
#include "server/client.h"
#include "server/client_name.h"
#include "server/commit_thread.h"
#include "server/config.h"
#include "server/connection_gate.h"
#include "server/delivery.h"
#include "server/message_check.h"
#include "server/policy.h"
#include "server/resolver.h"
#include "uring/buffer_pool.h"
#include "uring/ring.h"
#include "uring/timer_wheel.h"

namespace mxring::server {

class Certificates;

// Shared by all shards, owned by the server.
struct ShardShared {
  const Config& config;
  const Policy& policy;
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
};

struct ShardListeners {
  std::vector<net::Listener> all;
  std::size_t implicit_tls_from = 0;  // these and those behind begin with TLS
};

class Shard final : private CheckOwner {
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
  using Clients = base::SlotPool<Client>;

  // shard.cc
  void run(std::function<void(std::string)> started);
  std::string set_up();
  void turn();
  void dispatch(const uring::Completion& completion);
  void arm_wake();
  bool arm_accepts();
  void on_accept(const uring::Completion& completion);
  void welcome(int fd, bool implicit_tls);
  void greet(Client& client, bool spoke_early);
  void turn_away(int fd, bool implicit_tls, const smtp::Reply& reply);
  void start_draining();
  void drain_overdue();
  bool finished();
  void update_counters();

  // shard_client.cc
  void on_receive(Client& client, const uring::Completion& completion);
  void on_send(Client& client, const uring::Completion& completion);
  void pump(Client& client);
  bool handle(Client& client, const smtp::Step& step, smtp::ReplyBuffer& out);
  void on_mail(Client& client, smtp::ReplyBuffer& out);
  void on_data(Client& client, smtp::ReplyBuffer& out);
  void on_content(Client& client, std::string_view run);
  void on_message(Client& client, smtp::ReplyBuffer& out);
  bool deliver(Client& client, mailauth::Disposition disposition);
  void refuse_complete(Client& client, const smtp::Reply& reply);
  void on_decided(Message& message);
  void on_timer(Client& client);
  void say_last_words(Client& client, const smtp::Reply& reply);
  void end_of_turn(Client& client);
  void shut(Client& client);
  void destroy(Client& client);
  void set_timer(Client& client);
  void mark_dirty(Client& client);
  void count_session(Client& client);
  void give_up(Client& client);

  // shard_tls.cc
  void begin_tls(Client& client);
  void queue_handshake(Client& client);
  void run_handshakes();
  void step_handshake(Client& client);
  void on_encrypted(Client& client);
  void decrypt_waiting(Client& client);
  void end_untrusted(Client& client);

  // shard_check.cc
  void begin_name(Client& client);
  void drop_name(Client& client);
  void begin_check(Client& client);
  void drop_check(Client& client);
  void touch(MessageCheck& check);
  void check_answered(MessageCheck& check) override { touch(check); }
  bool gathers_more();
  void run_checks();
  void take_touched(std::uint64_t& bytes_left);
  void settle(MessageCheck& check);
  void end_overdue_checks();

  // shard_memory.cc
  bool memory_short() const;
  void pause_for_memory(Client& client);
  void end_memory_pause(Client& client);
  void relieve_memory();
  void resume_paused();
  void resume_starved();
  void evict(Message& message);
  Client* client_of(const Message& message);

  ShardShared shared_;
  const std::uint32_t number_;
  const int cpu_;
  std::vector<net::Listener> listeners_;
  const std::size_t implicit_tls_from_;
  obs::CounterSet& counters_;
  obs::StageClock stages_;
  smtp::SessionOptions session_options_;

  int event_fd_ = -1;
  std::uint64_t event_value_ = 0;
  std::unique_ptr<WriterLane> lane_;
  std::thread thread_;
  // Written by the shard, read by whoever watches it: figures, nothing is ordered by them.
  std::atomic<std::uint64_t> progress_{0};
  std::atomic<bool> ended_{false};
  obs::Histogram durable_ns_;

  // The shard thread's own, in order of construction.
  std::optional<uring::Ring> ring_;
  std::optional<uring::BufferPool> buffers_;
  net::OutputPool outputs_;
  std::optional<net::Connection::Context> connection_context_;
  std::optional<uring::TimerWheel> timers_;
  std::optional<Delivery> delivery_;
  std::unique_ptr<Resolver> resolver_;  // absent when nothing asks DNS
  std::vector<std::unique_ptr<ClientName>> names_;
  std::vector<ClientName*> idle_names_;
  crypto::Sha256Batch hashes_;
  crypto::RsaVerifier rsa_;
  mailauth::spf::OutcomeCache spf_outcomes_;
  std::vector<std::unique_ptr<MessageCheck>> checks_;
  std::vector<MessageCheck*> idle_checks_;
  base::IntrusiveList<MessageCheck, &MessageCheck::running_hook> running_checks_;
  base::IntrusiveList<MessageCheck, &MessageCheck::touched_hook> touched_checks_;
  std::size_t gathered_ = 0;  // messages the last turn left for the next to work on
  std::vector<MessageCheck*> taken_checks_;
  std::vector<MessageCheck*> collected_checks_;
  std::vector<crypto::RsaCheck*> signature_checks_;
  std::optional<Clients> clients_;
  base::IntrusiveList<Client, &Client::dirty_hook> dirty_;
  base::IntrusiveList<Client, &Client::starved_hook> starved_;
  base::IntrusiveList<Client, &Client::handshake_hook> handshakes_;
  std::vector<int> accepts_armed_;  // by listener
  base::Now now_;
  PolicyScratch policy_scratch_;
  std::uint32_t memory_low_buffers_ = 0;
  std::uint32_t memory_paused_ = 0;
  std::uint64_t direct_system_calls_ = 0;
  std::int64_t last_update_ns_ = 0;
  std::int64_t accept_retry_ns_ = 0;
  std::int64_t drain_deadline_ns_ = 0;
  bool draining_ = false;
  bool drained_ = false;
};

}  // namespace mxring::server
