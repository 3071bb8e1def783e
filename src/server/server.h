// The receiver: one writer thread, one pinned thread per shard, and the lines between them.
//
// Thread: start(), begin_drain() and wait() are called by one owner thread; begin_drain() also from
// a signal-handling thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "obs/counters.h"
#include "server/config.h"
#include "uring/fault.h"

namespace mxring::server {

class Confinement;
class Journal;
class TraceBoard;

struct StartError {
  int exit_code = 1;    // 78 when the configuration is to blame
  std::string message;  // one line: what is wrong and what to do
};

// What one thread that must not stand still has done so far. It is alive when `progress` has moved
// between two looks with poke() before the first, when it has ended, or while the disk is the one
// that is waited for.
struct Pulse {
  std::string thread;
  std::uint64_t progress = 0;
  std::int64_t committing_since_ns = 0;  // monotonic; 0: nothing is being written
  bool ended = false;
};

class Server {
 public:
  // Binds every listener, opens the log (recovering it), makes the rings, starts the threads.
  // Returns when all of them accept connections. `notice` gets lines for the operator (recovery
  // report, warnings, a fatal storage error), from any thread, one line without newline each.
  // `journal` outlives the server: it is started, and asked how many lines it had to drop.
  // `last_step` is taken by the caller before system calls are confined: what needs a thread or a
  // socket of its own.
  using LastStep = std::function<std::expected<void, StartError>(Server&)>;
  // `confinement` changes this process for good; with it the caller has no other thread yet.
  static std::expected<std::unique_ptr<Server>, StartError> start(
      const Config& config, std::function<void(const std::string&)> notice,
      uring::FaultPlan* faults = nullptr, Journal* journal = nullptr,
      Confinement* confinement = nullptr, const LastStep& last_step = {});
  ~Server();  // drains at once

  // The addresses actually bound (ports chosen by the kernel filled in).
  const std::vector<base::Endpoint>& smtp_endpoints() const;
  const std::vector<base::Endpoint>& smtps_endpoints() const;
  std::string admin_endpoint() const;  // "" when off
  std::uint32_t shards() const;
  const obs::CounterRegistry& counters() const;
  // Where the CPU time went, as a table for the operator.
  std::string ledger() const;

  // Of every shard and the writer. poke() has each of them go round once. Any thread, until wait()
  // returns.
  std::vector<Pulse> pulses() const;
  void poke();

  // Takes over of a configuration that checks what can change while running, for connections that
  // begin from now on, and reads certificates and keys again. Says in one line what changed and
  // what waits for a restart; or why nothing changed at all. Any thread.
  std::expected<std::string, std::string> reload(const Config& fresh);

  // The configuration did not even get as far as reload(): for the metric. Any thread.
  void reload_refused();

  // What /status and /live say: one JSON object each. Any thread, until wait() returns.
  std::string status() const;
  std::string live() const;
  TraceBoard& traces();
  // Who answers what the page asks about mail (server/mail_desk.h); once.
  using MailAnswer = std::function<std::string(std::string_view path, std::string_view query,
                                               const std::atomic<bool>& cancelled)>;
  void answer_mail_with(MailAnswer answer);

  // New connections get 421 4.3.2; transactions in progress may finish within limits.drain_ns.
  void begin_drain();
  // Blocks until drained (0) or stopped by a storage failure (1).
  int wait();

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mxring::server
