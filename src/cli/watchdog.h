// systemd's watchdog (WatchdogSec=): told that the server lives only while every shard and the
// writer make progress. When one stands still it is said, with its name, and systemd starts the
// process anew once its patience is over.
//
// Thread: one of its own, and only where the service manager asked for it (WATCHDOG_USEC).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>

#include "server/journal.h"
#include "server/server.h"

namespace mxring::cli {

class Watchdog {
 public:
  Watchdog() = default;
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() { stop(); }

  // Both outlive the watchdog, or stop() comes first.
  void start(server::Server& receiver, server::Journal& journal);
  void stop();

 private:
  void run(server::Server& receiver, server::Journal& journal, std::int64_t every_ns);
  bool wait(std::int64_t ns);  // false: the end

  std::mutex mutex_;
  std::condition_variable stopped_;
  bool stopping_ = false;
  std::thread thread_;
};

// How often the service manager wants to hear of us, from the environment; 0: not at all.
std::int64_t watchdog_ns();

}  // namespace mxring::cli
