// Listening sockets that systemd holds and hands over at the start (sd_listen_fds(3)): they stay
// open between two processes, so that a restart refuses nobody. FileDescriptorName= says what each
// is for: smtp, smtps or admin.
//
// Thread: main, before any other exists.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "net/listener.h"

namespace mxring::server {

struct HandedOver {
  std::vector<net::Listener> smtp;
  std::vector<net::Listener> smtps;
  std::optional<net::Listener> admin;

  bool empty() const { return smtp.empty() && smtps.empty() && !admin; }
};

// Takes them out of the environment. The error says which one is of no use and why.
std::expected<HandedOver, std::string> take_handed_over();

}  // namespace mxring::server
