// A shard's listeners, and the door: who may come in, and what the others hear (421). A turn
// accepts a bounded number by each listener, so that a crowd that arrives at once does not hold up
// those who talk already; after an error such as EMFILE it waits, because descriptors come back as
// clients leave, and a loop that only fails would starve everybody else.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "net/listener.h"
#include "server/connection_gate.h"
#include "server/turn_context.h"
#include "smtp/reply.h"
#include "uring/ring.h"

namespace mxring::server {

struct ShardListeners {
  std::vector<net::Listener> all;
  std::size_t implicit_tls_from = 0;  // these and those after begin with TLS
  // Somebody else keeps them open for the next process: while draining, who comes waits for it.
  bool handed_over = false;
};

class Acceptor {
 public:
  // Multishot would take a whole crowd in, within the kernel and in one go.
  static constexpr std::uint32_t kAcceptsPerTurn = 16;
  static constexpr std::int64_t kRetryNs = 100 * base::kNsPerMs;

  // Who has come in. The descriptor is the taker's.
  struct Newcomer {
    int fd = -1;
    base::Endpoint peer;
    bool implicit_tls = false;
    bool sends_header = false;  // it is of listen.proxy
    ConnectionGate::Place place{};
  };

  Acceptor(TurnContext& context, uring::Ring& ring, ConnectionGate& gate, ShardListeners listeners);

  // At the start of a turn. True when every listener is armed: nothing needs to be tried again.
  bool arm();
  // A completion with Operation::kAccept. True: *newcomer may come in, and is counted until
  // leave(). False: it has been turned away, or there was none.
  bool on_accept(const uring::Completion& completion, Newcomer* newcomer);
  // There is no room for it after all.
  void turn_away(const Newcomer& newcomer, smtp::ReplyId why);
  void journal(const Newcomer& newcomer, smtp::ReplyId why);
  // Draining has begun.
  void drain();
  // After drain(): nobody can come in any more.
  bool quiet() const;
  void leave(const ConnectionGate::Place& place) { gate_.leave(place); }
  void invariants() const;

 private:
  bool take_in(Newcomer& newcomer);

  TurnContext& context_;
  uring::Ring& ring_;
  ConnectionGate& gate_;
  std::vector<net::Listener> listeners_;
  const std::size_t implicit_tls_from_;
  const bool handed_over_;
  // By listener, a bit for each operation under way; its number is the generation of its tag.
  std::vector<std::uint32_t> armed_;
  static_assert(kAcceptsPerTurn <= 32);
  std::int64_t retry_at_ns_ = INT64_MIN;
};

}  // namespace mxring::server
