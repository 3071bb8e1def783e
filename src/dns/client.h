// Asks a recursive resolver (c-ares does the talking: UDP, retries, TCP after truncation; replies
// with a wrong id or question are not heard), keeps the answers in a cache, and lets everybody who
// asks the same thing wait for the same reply.
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
// the first probe before anybody asks.
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
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "base/ip_address.h"
#include "base/limits.h"
#include "dns/cache.h"
#include "dns/question.h"
#include "dns/quota.h"
#include "dns/record.h"

struct ares_channeldata;

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

class SocketWatcher {
 public:
  virtual void watch(int fd, bool readable, bool writable) = 0;

 protected:
  ~SocketWatcher() = default;
};

// Told when the resolver stops answering and when it is back: for one line in the log each.
class ResolverListener {
 public:
  virtual void on_resolver(bool answering) = 0;

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
  std::uint16_t account(const base::IpAddress& client) const { return quota_.account(client); }
  void on_ready(int fd, bool readable, bool writable, base::MonoTime now);
  void on_timer(base::MonoTime now);
  // The largest time when there is nothing to wait for.
  base::MonoTime next_timer() const;

  bool resolver_answers() const { return health_ != Health::kDown; }
  std::size_t outstanding() const { return pending_.size(); }
  Cache& cache() { return cache_; }
  const ClientStats& stats() const { return stats_; }

 private:
  friend class Waiter;
  struct Pending;
  struct PendingList;
  struct Query;
  struct Channel;
  struct Socket {
    int fd;
    Channel* channel;
  };
  enum class Health : std::uint8_t { kWorking, kSuspect, kDown };

  Client(const ClientOptions& options, SocketWatcher& watcher, ResolverListener* listener);
  std::expected<void, std::string> open_channels(const ClientOptions& options);
  std::expected<std::unique_ptr<Channel>, std::string> open_channel(std::size_t servers, bool tcp);
  Channel* tcp_channel(std::size_t index);
  static void on_reply(void* query, int status, int timeouts, unsigned char* bytes, int size);
  static void on_socket(void* channel, int fd, int readable, int writable);

  bool make_room(const Asker& asker);
  void send(Pending& pending);
  void send_probes(base::MonoTime now);
  void transmit(Query* query, const Question& question, Channel& channel);
  bool ask_again(Pending& pending, const Query& query);
  void settle(base::MonoTime now);
  void take(Query& query, base::MonoTime now);
  void finish(Pending& pending, AnswerPtr answer, base::MonoTime now);
  void heard(base::MonoTime now);
  void check_health(base::MonoTime now);
  void go_down(base::MonoTime now);
  void expire(base::MonoTime now);

  SocketWatcher& watcher_;
  ResolverListener* listener_;
  std::int64_t timeout_ns_;
  std::size_t outstanding_max_;
  std::size_t not_for_policies_ = 0;  // of those under way
  Quota quota_;
  Cache cache_;
  ClientStats stats_;
  std::vector<std::unique_ptr<Channel>> channels_;  // one per server, beginning with that server
  std::vector<std::unique_ptr<Channel>> tcp_channels_;  // the same over TCP; made when needed
  std::size_t preferred_ = 0;                           // the channel whose server answers
  std::vector<Socket> sockets_;
  std::unordered_map<Question, std::unique_ptr<Pending>, QuestionHash> pending_;
  std::unique_ptr<PendingList> by_age_;  // the oldest first
  std::vector<Query*> returned_;         // by c-ares, not looked at yet
  bool settling_ = false;
  bool closing_ = false;

  Health health_ = Health::kWorking;
  base::MonoTime last_heard_{-1};
  base::MonoTime last_tick_;
  base::MonoTime probe_deadline_;  // kSuspect: then it is down; kDown: then probe again
  std::size_t probes_ = 0;         // of the latest round, not returned yet
  std::uint64_t probe_round_ = 0;
  AnswerPtr down_answer_;
  AnswerPtr busy_answer_;
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
