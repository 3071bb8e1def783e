// Asks a recursive resolver (dns/transport carries queries and replies: UDP, retries, TCP after
// truncation; replies with a wrong id or question are not heard), keeps the answers in a cache, and
// lets everybody who asks the same thing wait for the same reply. What it knows of its resolvers is
// in dns/health.
//
// Against forgers: the id is random, and so is the case of the name's letters, which a reply must
// repeat. The port is less: c-ares (1.18) keeps one socket for each server while anything is
// outstanding. For c-ares a reply in another case ends the question, so it is asked again, over
// TCP, which nobody can forge from afar; a server that repeats names in a case of its own is known
// by its reply over TCP, or by many such replies in a row where it does not speak TCP, and believed
// as it is from then on.
//
// How a shard drives it, without ever blocking:
//   * it gives a SocketWatcher: watch(fd, r, w) says what to poll a socket for; both false means
//     the socket is about to be closed, and its poll is to be cancelled. With io_uring that is one
//     multishot poll per socket; a completion that arrives after the cancellation is dropped by its
//     generation, because the number of a closed socket may already name another;
//   * a completed poll: on_ready(fd, ...);
//   * its timer: next_timer() says when, on_timer() does it. Once per loop turn is also right;
//   * a session asks with ask(): the answer at once when it is known, else nullptr, and the
//     session's Waiter is called from a later on_ready() or on_timer(), never from inside ask().
// A waiter may be destroyed at any time and is then forgotten; inside on_answer() it may ask again.
//
// A resolver that has stopped answering is noticed once, not by every session anew: when a question
// has waited for half a second and nothing at all has been heard since, a probe (the root's name
// servers, which any resolver knows) decides within another second. From then on questions fail at
// once, those under way too, and a probe every two seconds finds out when it is back. start() sends
// the first probe before anybody asks. A server that does not know EDNS (RFC 6891 7) is asked again
// without it, and so from then on; probes are sent in both forms, for those that drop what they do
// not know. One that refuses everything is told of once.
//
// Questions under way are bounded, in all and for each client, and are charged to whoever asked
// first until they are answered: a client that leaves and comes back still owes them. DMARC's have
// a share that nothing else can take, because a stranger who fills the rest must not be able to
// keep a policy of reject from being found. What is refused on that account says so
// (Answer::not_asked). Commands ask on nobody's account.
//
// Thread: one. Failure: an answer with status kServerFailure or kTimeout, never more than
// timeout_ns after the question. c-ares reads the monotonic clock for its own retries; deadlines
// here go by the times handed in.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "base/ip_address.h"
#include "base/limits.h"
#include "dns/cache.h"
#include "dns/health.h"
#include "dns/question.h"
#include "dns/quota.h"
#include "dns/record.h"
#include "dns/transport.h"

namespace mxring::dns {

struct ClientOptions {
  std::vector<base::Endpoint> servers;  // empty: those of the system
  std::int64_t timeout_ns = 5 * base::kNsPerSecond;
  std::size_t cache_bytes_max = std::size_t{64} << 20;
  // Questions under way. One more fails at once; a quarter is kept for DMARC's.
  std::size_t outstanding_max = base::Limits{}.dns_outstanding;
  // Those that one client was the first to ask, and as many for DMARC.
  std::size_t outstanding_per_client_max = base::Limits{}.dns_outstanding_per_ip;
};

// Told when the resolver stops answering and when it is back, and when a server begins to refuse
// whatever it is asked and when it ceases: for one line in the log each.
class ResolverListener {
 public:
  virtual void on_resolver(bool answering) = 0;
  virtual void on_refusing(const base::Endpoint& server, bool refusing) = 0;

 protected:
  ~ResolverListener() = default;
};

struct ClientStats {
  std::uint64_t questions = 0;  // sent, aliases followed by hand included
  std::uint64_t shared = 0;     // joined a question already under way
  std::uint64_t timeouts = 0;
  std::uint64_t failures = 0;  // the resolver's, malformed replies included
  std::uint64_t refused = 0;   // failed at once: resolver down, or too many under way
};

class Waiter;

class Client {
 public:
  // A message says what is wrong: no memory, or no usable server.
  static std::expected<std::unique_ptr<Client>, std::string> create(
      const ClientOptions& options, SocketWatcher& watcher, ResolverListener* listener = nullptr);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  ~Client();

  void start(base::MonoTime now);

  [[nodiscard]] AnswerPtr ask(const Question& question, Waiter& waiter, base::MonoTime now,
                              const Asker& asker = {});
  // For Asker.
  std::uint16_t account(const base::IpAddress& client, bool claimed = false) const {
    return quota_.account(client, claimed);
  }
  void on_ready(int fd, bool readable, bool writable, base::MonoTime now);
  void on_timer(base::MonoTime now);
  // The largest time when there is nothing to wait for.
  base::MonoTime next_timer() const;

  bool resolver_answers() const { return health_.state() != Health::State::kDown; }
  // The probes of start() have been answered, or have had their time.
  bool settled() const { return health_.state() != Health::State::kSuspect && !health_.probing(); }
  // In the order of the configuration, or of the system's.
  std::span<const ServerHealth> servers() const { return servers_; }
  std::size_t outstanding() const { return pending_.size(); }
  Cache& cache() { return cache_; }
  const ClientStats& stats() const { return stats_; }
  // Between two calls from outside.
  void invariants() const;

 private:
  friend class Waiter;
  struct Pending;
  struct PendingList;
  struct Query;

  Client(const ClientOptions& options, ResolverListener* listener);

  bool make_room(const Asker& asker);
  void send(Pending& pending);
  void transmit(std::unique_ptr<Query> query);
  void detach(Pending& pending);
  bool ask_again(Pending& pending, const Query& query);
  bool try_next_server(Pending& pending, const Query& query);
  void settle(base::MonoTime now);
  void take(Query& query, base::MonoTime now);
  void take_answer(Pending& pending, Reply& reply, base::MonoTime now);
  void finish(Pending& pending, AnswerPtr answer, base::MonoTime now);

  void send_probes(base::MonoTime now);
  void take_probe(const Query& query, base::MonoTime now);
  void heard(const Query& query, base::MonoTime now);
  void check_health(base::MonoTime now);
  void check_options(base::MonoTime now);
  void go_down(base::MonoTime now);
  void expire(base::MonoTime now);

  ResolverListener* listener_;
  std::int64_t timeout_ns_;
  std::size_t outstanding_max_;
  std::size_t not_for_policies_ = 0;  // of those under way
  Quota quota_;
  Cache cache_;
  ClientStats stats_;
  Health health_;
  std::vector<ServerHealth> servers_;
  std::size_t preferred_ = 0;  // the server that answers
  std::unordered_map<Question, std::unique_ptr<Pending>, QuestionHash> pending_;
  std::unique_ptr<PendingList> by_age_;  // the oldest first
  std::vector<std::unique_ptr<Transport::Query>> taken_;
  bool settling_ = false;
  base::MonoTime last_tick_;
  AnswerPtr down_answer_;
  AnswerPtr busy_answer_;
  std::unique_ptr<Transport> transport_;  // goes first: its queries know what is pending
};

// One question of one session; embedded in the session.
class Waiter {
 public:
  Waiter() = default;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  virtual ~Waiter() { cancel(); }

  virtual void on_answer(const Question& question, const AnswerPtr& answer) = 0;
  bool waiting() const { return pending_ != nullptr; }
  void cancel();

 private:
  friend class Client;
  base::ListHook hook_;
  Client::Pending* pending_ = nullptr;
};

}  // namespace mxring::dns
