// The relay's own page for scrapers: /metrics, /status, /healthz over HTTP/1.1, one request a
// connection, on ADDR:PORT or unix:PATH. Answers come from texts that the runner hands over.
//
// Thread: the relay's. Bounded: 16 connections, 8 KiB of request, 5 s each.
#pragma once

#include <poll.h>

#include <expected>
#include <functional>
#include <list>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/owned_fd.h"

namespace mxring::relay {

class Admin {
 public:
  struct Page {
    int status = 404;
    std::string type = "text/plain; charset=utf-8";
    std::string body;
  };
  using Pages = std::function<Page(std::string_view path)>;

  // "" = nowhere.
  std::expected<void, std::string> open(const std::string& address, Pages pages);
  ~Admin();
  const std::string& address() const { return address_; }  // with the port that was chosen

  void add_waits(std::vector<pollfd>& waits) const;
  void work(base::Now now);

 private:
  struct Connection {
    base::OwnedFd fd;
    std::string in;
    std::string out;
    base::MonoTime until;
  };
  bool serve(Connection& connection);
  std::string answer(std::string_view request) const;

  base::OwnedFd listener_;
  std::string address_;
  std::string unix_path_;
  Pages pages_;
  std::list<Connection> connections_;
};

}  // namespace mxring::relay
