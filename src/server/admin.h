// Metrics and status over HTTP for scrapers and people: GET /metrics (Prometheus), GET /status
// (JSON), GET /healthz. A thread of its own with blocking calls and short timeouts, one request at a
// time: it must never be able to disturb a shard.
#pragma once

#include <atomic>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/ip_address.h"
#include "net/listener.h"

namespace mxring::server {

class Admin {
 public:
  struct Pages {
    std::function<std::string()> metrics;
    std::function<std::string()> status;
    std::function<bool()> healthy;
  };

  static std::expected<std::unique_ptr<Admin>, std::string> start(const base::Endpoint& endpoint,
                                                                  Pages pages);
  ~Admin();
  const base::Endpoint& endpoint() const { return listener_.endpoint(); }

 private:
  Admin(net::Listener listener, Pages pages);
  void run();
  void serve(int fd);

  net::Listener listener_;
  Pages pages_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mxring::server
