// One route's progress and, while there is one, its connection. Private to the courier.
//
// Freed memory never meets the ring: a session waits for its operations before it moves on.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/tls_client_link.h"
#include "report/courier.h"
#include "uring/tag.h"

namespace mxring::report {

struct Courier::Session {
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  Route* route = nullptr;  // null: free
  std::size_t stop = 0;
  std::size_t reported = 0;  // letters at the front of `undecided` that were told of
  std::vector<Letter*> undecided;
  std::optional<ClientDialogue> dialogue;
  int fd = -1;
  bool connecting = false;
  bool receiving = false;
  bool sending = false;
  bool closing = false;
  // TLS failed at this stop, and it is talked to once more in the clear.
  bool in_clear = false;
  // Something was understood that came through TLS: it works.
  bool heard_over_tls = false;
  std::unique_ptr<net::TlsClientLink> tls;
  std::uint64_t replies = 0;  // when the deadline was set
  base::MonoTime deadline;
  base::MonoTime patience_ends;  // unless a letter is decided before
  sockaddr_storage address{};
  std::array<char, 4096> input{};
  std::string pending;  // to be sent
  std::string sent;     // being sent
  std::string problem;  // the last one
  int problem_code = 0;

  uring::Tag tag(uring::Operation operation) const { return {operation, generation, slot}; }
  const Stop& here() const { return route->stops[stop]; }
};

}  // namespace mxring::report
