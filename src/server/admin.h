// Metrics and status over HTTP for scrapers and people: GET /metrics (Prometheus), GET /status
// (JSON), GET /healthz. A thread of its own, one request at a time and two seconds for each, from
// the connection to the last byte of the answer: it must never be able to disturb a shard, and no
// client the next one or the end of the program.
#pragma once

#include <atomic>
#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/ip_address.h"
#include "net/listener.h"

namespace mxring::server {

class Admin {
 public:
  struct Pages {
    std::function<std::string()> metrics;
    std::function<std::string()> status;
    std::function<std::string()> why_not_accepting;  // "" while mail is accepted
  };

  static std::expected<net::Listener, std::string> listen(const base::Endpoint& endpoint);
  // The listener's clients are served from now on.
  Admin(net::Listener listener, Pages pages);
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;
  ~Admin();
  const base::Endpoint& endpoint() const { return listener_.endpoint(); }

 private:
  void run();
  void serve(int fd);
  // False once the request's time is up, the thread shall stop, or the client has gone.
  bool ready(int fd, short events, base::MonoTime deadline) const;
  void send_all(int fd, std::string_view text, base::MonoTime deadline) const;

  net::Listener listener_;
  Pages pages_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace mxring::server
