#include "dns/client.h"

#include <ares.h>
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>

#include "base/assert.h"
#include "dns/message.h"
#include "dns/random.h"

namespace mxring::dns {

namespace {

constexpr int kTries = 2;                                       // per server
constexpr std::int64_t kTickNs = 50 * base::kNsPerMs;           // c-ares' retries are looked at
constexpr std::int64_t kSuspectAfterNs = 500 * base::kNsPerMs;  // without a word
constexpr std::int64_t kProbeWaitNs = 1 * base::kNsPerSecond;
constexpr std::int64_t kProbeEveryNs = 2 * base::kNsPerSecond;
constexpr std::size_t kAliasQuestionsMax = 8;  // aliases whose target a resolver left to us
// So many replies in a row whose question is in another case are the server's own, not forged.
constexpr unsigned kCaseChangesMax = 8;
constexpr base::MonoTime kNever{std::numeric_limits<std::int64_t>::max()};

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

struct Client::Channel {
  Client* client = nullptr;
  bool tcp = false;
  bool keeps_case = true;     // replies repeat the question's letters as they were
  unsigned case_changes = 0;  // replies in a row that did not
  ares_channeldata* handle = nullptr;
};

// One question under way and everybody who waits for it.
struct Client::Pending {
  Client* client = nullptr;
  Question question;
  Asker asker;
  Name asking;  // the question's name, or the end of its aliases so far
  base::IntrusiveList<Waiter, &Waiter::hook_> waiters;
  base::ListHook age_hook;
  base::MonoTime asked_at;
  base::MonoTime deadline;
  Query* query = nullptr;  // with c-ares, or returned by it
  std::size_t servers_tried = 0;
  std::size_t channel = 0;
  enum class Way : std::uint8_t { kUsual, kTcp, kAnyCase } way = Way::kUsual;
  std::size_t alias_questions = 0;
  std::vector<Name> aliases;
  std::uint32_t ttl_s = std::numeric_limits<std::uint32_t>::max();
};

struct Client::PendingList : base::IntrusiveList<Pending, &Pending::age_hook> {};

// One transmission. c-ares holds a pointer to it until it has called back, which it does once for
// each, so it outlives the question when that is given up.
struct Client::Query {
  Client* client = nullptr;
  Pending* pending = nullptr;     // nullptr: given up, or a probe
  std::uint64_t probe_round = 0;  // not 0: a probe
  Question question;
  Channel* channel = nullptr;
  Capitals capitals{};
  bool repeats_question = false;
  int status = 0;
  int timeouts = 0;
  std::optional<std::expected<Reply, MessageError>> reply;
};

void Waiter::cancel() {
  if (pending_ == nullptr) return;
  pending_->waiters.remove(*this);
  pending_ = nullptr;
}

Client::Client(const ClientOptions& options, SocketWatcher& watcher, ResolverListener* listener)
    : watcher_(watcher),
      listener_(listener),
      timeout_ns_(options.timeout_ns),
      outstanding_max_(options.outstanding_max),
      quota_(options.outstanding_per_client_max),
      cache_(options.cache_bytes_max),
      by_age_(std::make_unique<PendingList>()),
      down_answer_(make_failure(Status::kTimeout)),
      busy_answer_(make_busy()) {}

Client::~Client() {
  closing_ = true;
  for (const auto* channels : {&channels_, &tcp_channels_}) {
    for (const auto& channel : *channels) {
      // Returns every query.
      if (channel != nullptr && channel->handle != nullptr) ares_destroy(channel->handle);
    }
  }
  for (Query* query : returned_) delete query;
  for (auto& [question, pending] : pending_) {
    while (Waiter* waiter = pending->waiters.front()) waiter->cancel();
    by_age_->remove(*pending);
  }
}

std::expected<std::unique_ptr<Client>, std::string> Client::create(const ClientOptions& options,
                                                                   SocketWatcher& watcher,
                                                                   ResolverListener* listener) {
  static std::once_flag once;
  static int library = ARES_SUCCESS;
  std::call_once(once, [] { library = ares_library_init(ARES_LIB_INIT_ALL); });
  if (library != ARES_SUCCESS) return std::unexpected(std::string(ares_strerror(library)));
  std::unique_ptr<Client> client(new Client(options, watcher, listener));
  if (auto opened = client->open_channels(options); !opened) {
    return std::unexpected(opened.error());
  }
  return client;
}

namespace {

using ServerList = std::vector<ares_addr_port_node>;

ServerList servers_from(const std::vector<base::Endpoint>& endpoints) {
  ServerList servers;
  for (const base::Endpoint& endpoint : endpoints) {
    ares_addr_port_node node{};
    node.family = endpoint.address.is_v4() ? AF_INET : AF_INET6;
    std::memcpy(&node.addr, endpoint.address.bytes().data(), endpoint.address.is_v4() ? 4 : 16);
    node.udp_port = node.tcp_port = endpoint.port;
    servers.push_back(node);
  }
  return servers;
}

// What c-ares read from resolv.conf.
ServerList servers_of(ares_channeldata* channel) {
  ServerList servers;
  ares_addr_port_node* list = nullptr;
  if (ares_get_servers_ports(channel, &list) != ARES_SUCCESS) return servers;
  for (const auto* node = list; node != nullptr; node = node->next) servers.push_back(*node);
  if (list != nullptr) ares_free_data(list);
  return servers;
}

int set_servers(ares_channeldata* channel, ServerList servers, std::size_t first) {
  std::rotate(servers.begin(), servers.begin() + static_cast<std::ptrdiff_t>(first), servers.end());
  for (std::size_t i = 0; i < servers.size(); ++i) {
    servers[i].next = i + 1 < servers.size() ? &servers[i + 1] : nullptr;
  }
  return ares_set_servers_ports(channel, servers.data());
}

}  // namespace

std::expected<std::unique_ptr<Client::Channel>, std::string> Client::open_channel(
    std::size_t servers, bool tcp) {
  auto channel = std::make_unique<Channel>();
  channel->client = this;
  channel->tcp = tcp;
  ares_options config{};
  // Replies with an error code come to us: c-ares would ask the same server again.
  config.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_NOCHECKRESP | ARES_FLAG_EDNS |
                 (tcp ? ARES_FLAG_USEVC : 0);
  // Each retry waits twice as long as the one before, server after server; all of them together
  // fit into the timeout.
  const auto rounds =
      static_cast<std::int64_t>(((1U << kTries) - 1) * std::max<std::size_t>(servers, 1));
  config.timeout =
      static_cast<int>(std::clamp<std::int64_t>(timeout_ns_ / rounds / base::kNsPerMs, 50, 60'000));
  config.tries = kTries;
  config.ednspsz = kUdpBytesMax;
  config.sock_state_cb = &Client::on_socket;
  config.sock_state_cb_data = channel.get();
  char lookups[] = "b";
  config.lookups = lookups;
  const int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
                   ARES_OPT_SOCK_STATE_CB | ARES_OPT_LOOKUPS | ARES_OPT_NOROTATE;
  const int status = ares_init_options(&channel->handle, &config, mask);
  if (status != ARES_SUCCESS) return std::unexpected(std::string(ares_strerror(status)));
  return channel;
}

std::expected<void, std::string> Client::open_channels(const ClientOptions& options) {
  ServerList servers = servers_from(options.servers);
  for (std::size_t i = 0; i == 0 || i < servers.size(); ++i) {
    auto channel = open_channel(servers.size(), false);
    if (!channel) return std::unexpected(channel.error());
    ares_channeldata* handle = channels_.emplace_back(*std::move(channel))->handle;
    if (servers.empty()) servers = servers_of(handle);
    if (servers.empty()) return std::unexpected(std::string("no DNS server is configured"));
    const int set = set_servers(handle, servers, i);
    if (set != ARES_SUCCESS) return std::unexpected(std::string(ares_strerror(set)));
  }
  tcp_channels_.resize(channels_.size());
  return {};
}

// Nothing when it cannot be had.
Client::Channel* Client::tcp_channel(std::size_t index) {
  std::unique_ptr<Channel>& tcp = tcp_channels_[index];
  if (tcp != nullptr) return tcp.get();
  ServerList servers = servers_of(channels_[index]->handle);
  auto made = open_channel(servers.size(), true);
  if (!made) return nullptr;
  if (set_servers((*made)->handle, std::move(servers), 0) != ARES_SUCCESS) {
    ares_destroy((*made)->handle);
    return nullptr;
  }
  tcp = *std::move(made);
  return tcp.get();
}

void Client::on_socket(void* channel, int fd, int readable, int writable) {
  auto& from = *static_cast<Channel*>(channel);
  Client* client = from.client;
  auto& sockets = client->sockets_;
  const auto known = std::ranges::find(sockets, fd, &Socket::fd);
  const bool open = readable != 0 || writable != 0;
  if (open && known == sockets.end()) {
    sockets.push_back({fd, &from});
  } else if (!open && known != sockets.end()) {
    sockets.erase(known);
  }
  client->watcher_.watch(fd, readable != 0, writable != 0);
}

// Inside c-ares: only take what has come; settle() acts on it once c-ares has returned.
void Client::on_reply(void* argument, int status, int timeouts, unsigned char* bytes, int size) {
  auto* query = static_cast<Query*>(argument);
  if (query->client->closing_) {
    delete query;
    return;
  }
  query->status = status;
  query->timeouts = timeouts;
  if (bytes != nullptr && size > 0) {
    const std::span message{bytes, static_cast<std::size_t>(size)};
    query->reply = parse_reply(message, query->question);
    query->repeats_question = repeats_question(message, query->question, query->capitals);
  }
  query->client->returned_.push_back(query);
}

void Client::transmit(Query* query, const Question& question, Channel& channel) {
  query->client = this;
  query->question = question;
  query->channel = &channel;
  std::uint16_t id = 0;
  random_bytes(&id, sizeof id);
  random_bytes(&query->capitals, sizeof query->capitals);
  std::array<std::uint8_t, kQueryBytesMax> bytes;
  const std::size_t size = write_query(question, id, query->capitals, bytes);
  ++stats_.questions;
  ares_send(channel.handle, bytes.data(), static_cast<int>(size), &Client::on_reply, query);
}

void Client::send(Pending& pending) {
  auto* query = new Query;
  query->pending = &pending;
  pending.query = query;
  Channel* channel = channels_[pending.channel].get();
  if (pending.way == Pending::Way::kTcp) {
    if (Channel* tcp = tcp_channel(pending.channel)) channel = tcp;
  }
  transmit(query, {pending.asking, pending.question.type}, *channel);
}

// True when the reply is not to be believed and the question has been asked in another way.
bool Client::ask_again(Pending& pending, const Query& query) {
  using Way = Pending::Way;
  Channel& usual = *channels_[pending.channel];
  if (!query.reply) {
    if (pending.way != Way::kTcp) return false;
    pending.way = Way::kAnyCase;  // nobody is there over TCP
    send(pending);
    return true;
  }
  if (query.channel->tcp) {
    if (!query.repeats_question) usual.keeps_case = false;
    return false;
  }
  if (query.repeats_question) {
    usual.case_changes = 0;
    return false;
  }
  if (usual.keeps_case && ++usual.case_changes >= kCaseChangesMax) usual.keeps_case = false;
  if (!usual.keeps_case || pending.way == Way::kAnyCase) return false;
  pending.way = Way::kTcp;
  send(pending);
  return true;
}

void Client::send_probes(base::MonoTime now) {
  ++probe_round_;
  probes_ = channels_.size();
  probe_deadline_ = now + (health_ == Health::kDown ? kProbeEveryNs : kProbeWaitNs);
  for (std::size_t i = 0; i < channels_.size(); ++i) {
    auto* query = new Query;
    query->probe_round = probe_round_;
    transmit(query, probe_question(), *channels_[i]);
  }
}

void Client::start(base::MonoTime now) {
  if (health_ != Health::kWorking || last_heard_.ns >= 0) return;
  health_ = Health::kSuspect;
  send_probes(now);
}

// A quarter is for policies alone.
bool Client::make_room(const Asker& asker) {
  if (pending_.size() >= outstanding_max_) return false;
  if (!asker.policy && not_for_policies_ >= outstanding_max_ - outstanding_max_ / 4) return false;
  if (!quota_.take(asker)) return false;
  if (!asker.policy) ++not_for_policies_;
  return true;
}

AnswerPtr Client::ask(const Question& question, Waiter& waiter, base::MonoTime now,
                      const Asker& asker) {
  MXRING_ASSERT(!waiter.waiting());
  if (AnswerPtr known = cache_.find(question, now)) return known;
  const auto under_way = pending_.find(question);
  if (under_way != pending_.end()) {
    ++stats_.shared;
    under_way->second->waiters.push_back(waiter);
    waiter.pending_ = under_way->second.get();
    return nullptr;
  }
  if (health_ == Health::kDown || !make_room(asker)) {
    ++stats_.refused;
    return health_ == Health::kDown ? down_answer_ : busy_answer_;
  }
  auto owned = std::make_unique<Pending>();
  Pending& pending = *owned;
  pending.client = this;
  pending.question = question;
  pending.asker = asker;
  pending.asking = question.name;
  pending.asked_at = now;
  pending.deadline = now + timeout_ns_;
  pending.channel = preferred_;
  pending.servers_tried = 1;
  pending.waiters.push_back(waiter);
  waiter.pending_ = &pending;
  by_age_->push_back(pending);
  pending_.emplace(question, std::move(owned));
  send(pending);
  return nullptr;
}

void Client::on_ready(int fd, bool readable, bool writable, base::MonoTime now) {
  const auto socket = std::ranges::find(sockets_, fd, &Socket::fd);
  if (socket != sockets_.end()) {
    ares_process_fd(socket->channel->handle, readable ? fd : ARES_SOCKET_BAD,
                    writable ? fd : ARES_SOCKET_BAD);
  }
  settle(now);
}

void Client::on_timer(base::MonoTime now) {
  if (now - last_tick_ >= kTickNs) {
    last_tick_ = now;
    for (const auto* channels : {&channels_, &tcp_channels_}) {
      for (const auto& channel : *channels) {
        if (channel == nullptr) continue;
        ares_process_fd(channel->handle, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
      }
    }
  }
  settle(now);
  expire(now);
  check_health(now);
  settle(now);
}

base::MonoTime Client::next_timer() const {
  if (!returned_.empty()) return last_tick_;
  base::MonoTime next = kNever;
  if (!pending_.empty() || probes_ != 0) next = last_tick_ + kTickNs;
  if (health_ != Health::kWorking) next = std::min(next, probe_deadline_);
  return next;
}

// Acts on everything c-ares has returned. Waiters called from here may ask again, which may return
// further queries at once: they are taken in the same loop.
void Client::settle(base::MonoTime now) {
  if (settling_) return;
  settling_ = true;
  std::vector<Query*> taken;
  while (!returned_.empty()) {
    taken.clear();
    taken.swap(returned_);
    for (Query* query : taken) {
      const std::unique_ptr<Query> owned(query);
      take(*owned, now);
    }
  }
  settling_ = false;
}

void Client::take(Query& query, base::MonoTime now) {
  if (query.reply) heard(now);
  if (query.probe_round != 0) {
    if (query.probe_round == probe_round_ && probes_ != 0) --probes_;
    // Every server refuses even the connection: no need to wait for the deadline.
    if (probes_ == 0 && health_ == Health::kSuspect) go_down(now);
    return;
  }
  if (query.pending == nullptr) return;
  Pending& pending = *query.pending;
  pending.query = nullptr;
  if (ask_again(pending, query)) return;
  if (query.timeouts > 0 && query.reply) preferred_ = (pending.channel + 1) % channels_.size();
  const bool failed =
      !query.reply || !*query.reply ||
      (!(*query.reply)->ask_next && (*query.reply)->answer.status == Status::kServerFailure);
  if (failed) {
    // A server that cannot answer is not the last word while there is another one. Silence is:
    // c-ares has waited for all of them.
    if (query.reply && pending.servers_tried < channels_.size()) {
      ++pending.servers_tried;
      pending.channel = (pending.channel + 1) % channels_.size();
      pending.way = Pending::Way::kUsual;
      send(pending);
      return;
    }
    if (!query.reply && health_ == Health::kWorking && last_heard_ < pending.asked_at) {
      health_ = Health::kSuspect;
      send_probes(now);
    }
    const Status status = query.reply ? Status::kServerFailure : Status::kTimeout;
    finish(pending, make_failure(status), now);
    return;
  }
  Reply& reply = **query.reply;
  pending.ttl_s = std::min(pending.ttl_s, reply.answer.ttl_s);
  pending.aliases.insert(pending.aliases.end(), reply.answer.aliases.begin(),
                         reply.answer.aliases.end());
  if (reply.ask_next) {
    const bool circle = *reply.ask_next == pending.question.name;
    if (circle || ++pending.alias_questions > kAliasQuestionsMax) {
      finish(pending, make_failure(Status::kServerFailure), now);
      return;
    }
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
  if (pending.query != nullptr) pending.query->pending = nullptr;
  by_age_->remove(pending);
  const auto node = pending_.extract(pending.question);
  quota_.give_back(pending.asker);
  if (!pending.asker.policy) --not_for_policies_;
  // A resolver that is down says nothing about the name.
  if (health_ != Health::kDown) cache_.put(pending.question, answer, now);
  while (Waiter* waiter = pending.waiters.front()) {
    waiter->cancel();
    waiter->on_answer(pending.question, answer);
  }
}

void Client::heard(base::MonoTime now) {
  last_heard_ = now;
  const bool was_down = health_ == Health::kDown;
  health_ = Health::kWorking;
  if (was_down && listener_ != nullptr) listener_->on_resolver(true);
}

void Client::check_health(base::MonoTime now) {
  if (health_ == Health::kWorking) {
    const Pending* oldest = by_age_->front();
    if (oldest == nullptr || now - oldest->asked_at < kSuspectAfterNs) return;
    // Heard something since then, and not long ago: this one name is slow.
    if (last_heard_ >= oldest->asked_at && now - last_heard_ < kSuspectAfterNs) return;
    health_ = Health::kSuspect;
    send_probes(now);
  } else if (now >= probe_deadline_) {
    health_ == Health::kSuspect ? go_down(now) : send_probes(now);
  }
}

void Client::go_down(base::MonoTime now) {
  health_ = Health::kDown;
  probe_deadline_ = now + kProbeEveryNs;
  if (listener_ != nullptr) listener_->on_resolver(false);
  while (Pending* pending = by_age_->front()) finish(*pending, down_answer_, now);
}

void Client::expire(base::MonoTime now) {
  while (Pending* oldest = by_age_->front()) {
    if (oldest->deadline > now) return;
    finish(*oldest, make_failure(Status::kTimeout), now);
  }
}

}  // namespace mxring::dns
