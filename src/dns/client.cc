// A question goes: ask() puts it into pending_, send() to a server, take() looks at what came back
// (asks again in another way, or of the next server, or under an alias), finish() gives the answer
// to the cache and to everybody who waits. go_down() and expire() finish without an answer.
#include "dns/client.h"

#include <algorithm>
#include <limits>

#include "base/assert.h"
#include "base/probe.h"
#include "dns/message.h"

namespace mxring::dns {

namespace {

constexpr std::int64_t kTickNs = 50 * base::kNsPerMs;  // the transport's retries are looked at
constexpr std::size_t kAliasQuestionsMax = 8;          // aliases whose target a resolver left to us

// What a failure of ours looks like, so that it is not taken for one of DNS.
AnswerPtr make_busy() {
  auto answer = std::make_shared<Answer>();
  answer->not_asked = true;
  return answer;
}

const Question& probe_question() {
  static const Question question{Name(), Type::kNs};
  return question;
}

}  // namespace

// One question under way and everybody who waits for it.
struct Client::Pending {
  Question question;
  Asker asker;
  Name asking;  // the question's name, or the end of its aliases so far
  base::IntrusiveList<Waiter, &Waiter::hook_> waiters;
  base::ListHook age_hook;
  base::MonoTime asked_at;
  base::MonoTime deadline;
  Query* query = nullptr;  // with the transport, or returned by it
  std::size_t servers_tried = 0;
  std::size_t server = 0;
  enum class Way : std::uint8_t { kUsual, kTcp, kAnyCase } way = Way::kUsual;
  bool options_rejected = false;  // by this server, for this question
  std::size_t alias_questions = 0;
  std::vector<Name> aliases;
  std::uint32_t ttl_s = std::numeric_limits<std::uint32_t>::max();
};

struct Client::PendingList : base::IntrusiveList<Pending, &Pending::age_hook> {};

// One transmission; it outlives the question when that is given up.
struct Client::Query final : Transport::Query {
  Pending* pending = nullptr;     // nullptr: given up, or a probe
  std::uint64_t probe_round = 0;  // not 0: a probe
};

void Waiter::cancel() {
  if (pending_ == nullptr) return;
  pending_->waiters.remove(*this);
  pending_ = nullptr;
}

Client::Client(const ClientOptions& options, ResolverListener* listener)
    : listener_(listener),
      timeout_ns_(options.timeout_ns),
      outstanding_max_(options.outstanding_max),
      quota_(options.outstanding_per_client_max),
      cache_(options.cache_bytes_max),
      by_age_(std::make_unique<PendingList>()),
      down_answer_(make_failure(Status::kTimeout)),
      busy_answer_(make_busy()) {}

Client::~Client() {
  transport_.reset();
  for (auto& [question, pending] : pending_) {
    while (Waiter* waiter = pending->waiters.front()) waiter->cancel();
    by_age_->remove(*pending);
  }
}

std::expected<std::unique_ptr<Client>, std::string> Client::create(const ClientOptions& options,
                                                                   SocketWatcher& watcher,
                                                                   ResolverListener* listener) {
  std::unique_ptr<Client> client(new Client(options, listener));
  auto transport = Transport::create(options.servers, options.timeout_ns, watcher);
  if (!transport) return std::unexpected(transport.error());
  client->transport_ = *std::move(transport);
  for (const base::Endpoint& server : client->transport_->servers()) {
    client->servers_.emplace_back(server);
  }
  return client;
}

void Client::invariants() const {
  MXRING_ASSERT(pending_.size() == by_age_->size());
  MXRING_ASSERT(pending_.size() <= outstanding_max_);
  MXRING_ASSERT(not_for_policies_ <= pending_.size());
  MXRING_ASSERT(preferred_ < servers_.size());
  MXRING_ASSERT(resolver_answers() || pending_.empty());
#ifndef NDEBUG
  for (Pending* pending = by_age_->front(); pending != nullptr; pending = by_age_->next(*pending)) {
    MXRING_ASSERT(pending->query != nullptr && pending->query->pending == pending);
    MXRING_ASSERT(pending->servers_tried != 0 && pending->servers_tried <= servers_.size());
  }
#endif
}

// A quarter is for policies alone.
bool Client::make_room(const Asker& asker) {
  if (pending_.size() >= outstanding_max_ || MXRING_BUGGIFY("no room for a question", 100)) {
    MXRING_PROBE("dns: too many questions under way");
    return false;
  }
  if (!asker.policy && not_for_policies_ >= outstanding_max_ - outstanding_max_ / 4) {
    MXRING_PROBE("dns: the rest is kept for policies");
    return false;
  }
  if (!quota_.take(asker)) {
    MXRING_PROBE("dns: too many questions for one client");
    return false;
  }
  if (!asker.policy) ++not_for_policies_;
  return true;
}

AnswerPtr Client::ask(const Question& question, Waiter& waiter, base::MonoTime now,
                      const Asker& asker) {
  MXRING_ASSERT(!waiter.waiting());
  if (AnswerPtr known = cache_.find(question, now)) return known;
  const auto under_way = pending_.find(question);
  if (under_way != pending_.end()) {
    MXRING_PROBE("dns: the same is under way");
    ++stats_.shared;
    under_way->second->waiters.push_back(waiter);
    waiter.pending_ = under_way->second.get();
    return nullptr;
  }
  if (!resolver_answers() || !make_room(asker)) {
    ++stats_.refused;
    if (!resolver_answers()) MXRING_PROBE("dns: not asked, the resolver is down");
    return resolver_answers() ? busy_answer_ : down_answer_;
  }
  auto owned = std::make_unique<Pending>();
  Pending& pending = *owned;
  pending.question = question;
  pending.asker = asker;
  pending.asking = question.name;
  pending.asked_at = now;
  pending.deadline = now + timeout_ns_;
  pending.server = preferred_;
  pending.servers_tried = 1;
  pending.waiters.push_back(waiter);
  waiter.pending_ = &pending;
  by_age_->push_back(pending);
  pending_.emplace(question, std::move(owned));
  send(pending);
  return nullptr;
}

void Client::transmit(std::unique_ptr<Query> query) {
  ++stats_.questions;
  transport_->send(std::move(query));
}

void Client::send(Pending& pending) {
  MXRING_ASSERT(pending.query == nullptr);
  auto query = std::make_unique<Query>();
  query->pending = &pending;
  query->question = {pending.asking, pending.question.type};
  query->server = pending.server;
  query->tcp = pending.way == Pending::Way::kTcp;
  query->options = !pending.options_rejected && servers_[pending.server].takes_options();
  pending.query = query.get();
  transmit(std::move(query));
}

// What is under way for it will say nothing to it.
void Client::detach(Pending& pending) {
  if (pending.query == nullptr) return;
  MXRING_ASSERT(pending.query->pending == &pending);
  pending.query->pending = nullptr;
  pending.query = nullptr;
}

// True when the reply is not what was wanted, or not to be believed, and the question has been
// asked in another way.
bool Client::ask_again(Pending& pending, const Query& query) {
  using Way = Pending::Way;
  ServerHealth& server = servers_[pending.server];
  if (!query.reply) {
    if (pending.way != Way::kTcp) return false;
    pending.way = Way::kAnyCase;  // nobody is there over TCP
    MXRING_PROBE("dns: nobody is there over TCP");
    send(pending);
    return true;
  }
  if (*query.reply && query.options && rejects_options((*query.reply)->code)) {
    pending.options_rejected = true;
    MXRING_PROBE("dns: asked again without options");
    send(pending);
    return true;
  }
  if (query.tcp) {
    if (!query.repeats_question) server.never_keeps_case();
    return false;
  }
  if (query.repeats_question) {
    server.case_kept();
    return false;
  }
  server.case_changed();
  if (!server.keeps_case() || pending.way == Way::kAnyCase) return false;
  MXRING_PROBE("dns: asked again over TCP, for the case");
  pending.way = Way::kTcp;
  send(pending);
  return true;
}

// A server that cannot answer is not the last word while there is another one. Silence is: the
// transport has waited for all of them.
bool Client::try_next_server(Pending& pending, const Query& query) {
  if (!query.reply || pending.servers_tried >= servers_.size()) return false;
  ++pending.servers_tried;
  MXRING_PROBE("dns: the next server is asked");
  pending.server = (pending.server + 1) % servers_.size();
  pending.way = Pending::Way::kUsual;
  pending.options_rejected = false;
  send(pending);
  return true;
}

void Client::on_ready(int fd, bool readable, bool writable, base::MonoTime now) {
  transport_->on_ready(fd, readable, writable);
  settle(now);
}

void Client::on_timer(base::MonoTime now) {
  if (now - last_tick_ >= kTickNs) {
    last_tick_ = now;
    transport_->on_tick();
  }
  settle(now);
  expire(now);
  check_options(now);
  check_health(now);
  settle(now);
  MXRING_ASSERT(quota_.taken() <= pending_.size());  // what has been answered counts no more
  invariants();
}

base::MonoTime Client::next_timer() const {
  if (transport_->has_returned()) return last_tick_;
  base::MonoTime next = health_.deadline();
  if (!pending_.empty() || health_.probing()) next = std::min(next, last_tick_ + kTickNs);
  for (const ServerHealth& server : servers_) next = std::min(next, server.deadline());
  return next;
}

// Acts on everything the transport has brought. Waiters called from here may ask again, which may
// bring further queries at once: they are taken in the same loop, and each of them is a question
// that a message may ask.
void Client::settle(base::MonoTime now) {
  if (settling_) return;
  settling_ = true;
  while (transport_->has_returned()) {
    transport_->take_returned(taken_);
    for (const auto& query : taken_) take(static_cast<Query&>(*query), now);
    taken_.clear();
  }
  settling_ = false;
}

void Client::take(Query& query, base::MonoTime now) {
  if (query.reply) heard(query, now);
  if (query.probe_round != 0) {
    take_probe(query, now);
    return;
  }
  if (query.pending == nullptr) {
    MXRING_PROBE("dns: a reply comes after all was over");
    return;
  }
  Pending& pending = *query.pending;
  detach(pending);
  if (ask_again(pending, query)) return;
  if (query.timed_out && query.reply) preferred_ = (pending.server + 1) % servers_.size();
  const bool failed =
      !query.reply || !*query.reply ||
      (!(*query.reply)->ask_next && (*query.reply)->answer.status == Status::kServerFailure);
  if (!failed) {
    take_answer(pending, **query.reply, now);
    return;
  }
  if (try_next_server(pending, query)) return;
  if (!query.reply && health_.last_heard() < pending.asked_at && health_.suspect()) {
    MXRING_PROBE("dns: silence, the resolver is probed");
    send_probes(now);
  }
  finish(pending, make_failure(query.reply ? Status::kServerFailure : Status::kTimeout), now);
}

void Client::take_answer(Pending& pending, Reply& reply, base::MonoTime now) {
  pending.ttl_s = std::min(pending.ttl_s, reply.answer.ttl_s);
  pending.aliases.insert(pending.aliases.end(), reply.answer.aliases.begin(),
                         reply.answer.aliases.end());
  if (reply.ask_next) {
    const bool circle = *reply.ask_next == pending.question.name;
    if (circle || ++pending.alias_questions > kAliasQuestionsMax) {
      MXRING_PROBE("dns: aliases lead nowhere");
      finish(pending, make_failure(Status::kServerFailure), now);
      return;
    }
    MXRING_PROBE("dns: an alias is followed");
    pending.asking = *reply.ask_next;
    pending.way = Pending::Way::kUsual;
    send(pending);
    return;
  }
  auto answer = std::make_shared<Answer>(std::move(reply.answer));
  answer->ttl_s = pending.ttl_s;
  answer->aliases = std::move(pending.aliases);
  finish(pending, std::move(answer), now);
}

void Client::finish(Pending& pending, AnswerPtr answer, base::MonoTime now) {
  if (answer->status == Status::kTimeout) ++stats_.timeouts;
  if (answer->status == Status::kServerFailure) ++stats_.failures;
  detach(pending);
  by_age_->remove(pending);
  const auto node = pending_.extract(pending.question);
  quota_.give_back(pending.asker);
  if (!pending.asker.policy) --not_for_policies_;
  // A resolver that is down says nothing about the name.
  if (resolver_answers()) cache_.put(pending.question, answer, now);
  while (Waiter* waiter = pending.waiters.front()) {
    waiter->cancel();
    waiter->on_answer(pending.question, answer);
  }
}

// ---- What is known of the resolvers

void Client::start(base::MonoTime now) {
  if (health_.heard_anything() || !health_.suspect()) return;
  send_probes(now);
}

// In both forms to each server that is thought to take options.
void Client::send_probes(base::MonoTime now) {
  std::size_t probes = servers_.size();
  for (const ServerHealth& server : servers_) probes += server.takes_options() ? 1 : 0;
  const std::uint64_t round = health_.begin_round(now, probes);
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    const bool takes_options = servers_[i].takes_options();
    servers_[i].begin_probe();
    for (const bool options : {true, false}) {
      if (options && !takes_options) continue;
      auto query = std::make_unique<Query>();
      query->probe_round = round;
      query->question = probe_question();
      query->server = i;
      query->options = options;
      transmit(std::move(query));
    }
  }
}

void Client::take_probe(const Query& query, base::MonoTime now) {
  const bool served = query.reply && *query.reply && !query.timed_out &&
                      (*query.reply)->answer.status != Status::kServerFailure;
  if (served && !query.options) servers_[query.server].answered_plain_probe(now);
  // Every server refuses even the connection: no need to wait for the deadline.
  if (health_.probe_returned(query.probe_round)) go_down(now);
}

void Client::heard(const Query& query, base::MonoTime now) {
  if (health_.heard(now)) {
    MXRING_PROBE("dns: the resolver is back");
    for (ServerHealth& server : servers_) server.forget();
    if (listener_ != nullptr) listener_->on_resolver(true);
  }
  // After a timeout it may be another server that speaks.
  if (query.timed_out || !*query.reply) return;
  ServerHealth& server = servers_[query.server];
  const bool again = query.pending != nullptr && query.pending->options_rejected;
  server.replied(query.options, (*query.reply)->code, again);
  // A server for some zones only refuses the root and the names of clients, and serves us all the
  // same: told is what comes of a sender's name.
  const bool elsewhere = query.pending == nullptr || query.pending->question.type == Type::kPtr;
  if (elsewhere && server.refusing()) return;
  const auto refusing = server.refusal_news();
  if (!refusing) return;
  MXRING_PROBE("dns: news of a server that refuses");
  if (*refusing && preferred_ == query.server) preferred_ = (preferred_ + 1) % servers_.size();
  if (listener_ != nullptr) listener_->on_refusing(server.endpoint(), *refusing);
}

void Client::check_health(base::MonoTime now) {
  const Pending* oldest = by_age_->front();
  switch (health_.check(now, oldest == nullptr ? std::nullopt : std::optional(oldest->asked_at))) {
    case Health::Action::kProbe:
      send_probes(now);
      break;
    case Health::Action::kGoDown:
      go_down(now);
      break;
    case Health::Action::kNothing:
      break;
  }
}

// A server that answers nothing with options: what waits for it is asked again without.
void Client::check_options(base::MonoTime now) {
  for (std::size_t i = 0; i < servers_.size(); ++i) {
    if (!servers_[i].give_up_options(now)) continue;
    MXRING_PROBE("dns: a server answers nothing with options");
    for (Pending* pending = by_age_->front(); pending != nullptr;
         pending = by_age_->next(*pending)) {
      if (pending->server != i || pending->query == nullptr || !pending->query->options) continue;
      detach(*pending);
      send(*pending);
    }
  }
}

void Client::go_down(base::MonoTime now) {
  health_.go_down(now);
  MXRING_PROBE("dns: the resolver is down");
  if (listener_ != nullptr) listener_->on_resolver(false);
  while (Pending* pending = by_age_->front()) finish(*pending, down_answer_, now);
}

void Client::expire(base::MonoTime now) {
  while (Pending* oldest = by_age_->front()) {
    if (oldest->deadline > now) return;
    MXRING_PROBE("dns: a question has had its time");
    finish(*oldest, make_failure(Status::kTimeout), now);
  }
}

}  // namespace mxring::dns
