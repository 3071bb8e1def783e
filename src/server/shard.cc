#include "server/shard.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <ctime>
#include <future>
#include <utility>

#include "base/assert.h"
#include "obs/allocations.h"
#include "server/result_counters.h"
#include "smtp/reply.h"

namespace mxring::server {

using uring::Operation;

namespace {

namespace replies = smtp::replies;

constexpr std::uint32_t kBuffersMax = 32'768;  // what a 16-bit buffer id can name
// For decryption, which must go on when all others wait to be received into, or hold messages.
constexpr std::uint32_t kBuffersKeptBack = 16;
constexpr std::int64_t kCountersEveryNs = base::kNsPerSecond;
constexpr std::int64_t kAcceptRetryNs = 100 * base::kNsPerMs;
constexpr std::size_t kGatheredEnough = 16;  // messages: what the widest hash lanes take
// By a listener in one turn: a crowd that arrives at once does not hold up those who talk already.
// Multishot would take all of them in, within the kernel and in one go.
constexpr int kAcceptsPerTurn = 16;
constexpr std::int64_t kDrainGraceNs = 2 * base::kNsPerSecond;  // to send the last 421s

// Enough buffers for the memory limit plus those offered to the kernel; larger ones when there
// would be more than can be named.
uring::BufferPool::Options pool_options(const Config& config) {
  uring::BufferPool::Options options;
  options.group = net::Connection::kBufferGroup;
  options.buffer_bytes = std::bit_ceil(config.shards.buffer_bytes);
  options.offered = std::bit_ceil(config.shards.buffers_offered);
  options.kept_back = kBuffersKeptBack;
  std::uint64_t buffers = 0;
  for (;; options.buffer_bytes *= 2) {
    buffers =
        config.limits.memory_bytes / options.buffer_bytes + options.offered + options.kept_back;
    if (buffers <= kBuffersMax) break;
  }
  options.buffers = static_cast<std::uint32_t>(buffers);
  return options;
}

void pin_to(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

}  // namespace

Shard::Shard(ShardShared shared, std::uint32_t number, int cpu, ShardListeners listeners,
             obs::CounterSet& counters)
    : shared_(std::move(shared)),
      number_(number),
      cpu_(cpu),
      listeners_(std::move(listeners.all)),
      implicit_tls_from_(listeners.implicit_tls_from),
      counters_(counters),
      stages_(counters),
      session_options_{shared_.config.hostname,
                       shared_.config.limits,
                       {},
                       shared_.certificates != nullptr && shared_.config.tls.starttls},
      event_fd_(::eventfd(0, EFD_CLOEXEC)) {
  // Each connection waits for at most one message.
  lane_ = std::make_unique<WriterLane>(std::max(shared_.config.limits.connections, 64U), event_fd_);
}

Shard::~Shard() {
  join();
  if (event_fd_ >= 0) ::close(event_fd_);
}

std::expected<void, std::string> Shard::start() {
  std::promise<std::string> started;
  std::future<std::string> answer = started.get_future();
  thread_ = std::thread(
      [this, &started] { run([&started](std::string error) { started.set_value(error); }); });
  std::string error = answer.get();
  if (error.empty()) return {};
  join();
  return std::unexpected(std::move(error));
}

void Shard::poke() {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event_fd_, &one, sizeof one);
}

void Shard::join() {
  if (thread_.joinable()) thread_.join();
}

std::string Shard::set_up() {
  const uring::Ring::Options options{shared_.config.shards.submission_entries,
                                     shared_.config.shards.completion_entries,
                                     shared_.config.shards.engine, /*connects=*/false};
  auto ring = uring::Ring::create(options, shared_.faults);
  if (!ring) return ring.error().message;
  if (number_ == 0 && !ring->fallback_reason().empty()) {
    shared_.notice(
        fmt::format("warning: receiving on epoll, which costs more processor time for "
                    "each message (bench/README.md): {}",
                    ring->fallback_reason()));
  }
  ring_.emplace(std::move(*ring));
  auto buffers = uring::BufferPool::create(*ring_, pool_options(shared_.config));
  if (!buffers) return buffers.error().message;
  buffers_.emplace(std::move(*buffers));
  memory_low_buffers_ = std::max(buffers_->options().offered * 2, buffers_->options().buffers / 16);
  now_ = base::read_clocks();
  connection_context_.emplace(net::Connection::Context{*ring_, *buffers_, outputs_});
  timers_.emplace(now_.mono);
  delivery_.emplace(Delivery::Setup{.buffers = *buffers_,
                                    .limits = shared_.config.limits,
                                    .hostname = shared_.config.hostname,
                                    .shard = number_,
                                    .to_writer = lane_->to_writer,
                                    .from_writer = lane_->from_writer,
                                    .counters = counters_});
  const Config::Auth& auth = shared_.config.auth;
  if (auth.spf || auth.dkim || auth.dmarc) {
    auto resolver = Resolver::create(shared_.config, *ring_, shared_.resolver_health);
    if (!resolver) return resolver.error();
    resolver_ = std::move(*resolver);
    resolver_->start(now_.mono);
  }
  clients_.emplace(shared_.config.limits.connections);
  accepts_armed_.assign(listeners_.size(), 0);
  return {};
}

void Shard::run(std::function<void(std::string)> started) {
  pthread_setname_np(pthread_self(), ("mxring-" + std::to_string(number_)).c_str());
  pin_to(cpu_);
  std::string error = set_up();
  const bool ready = error.empty();
  if (ready) shared_.undrained.fetch_add(1, std::memory_order_relaxed);
  started(std::move(error));
  if (ready) {
    arm_wake();
    while (!finished()) turn();
    update_counters();
  }
  ended_.store(true, std::memory_order_relaxed);
  // No operation on a client is in flight any more. The pool unregisters itself from the ring, so
  // the ring goes last.
  clients_.reset();
  names_.clear();
  checks_.clear();
  resolver_.reset();
  delivery_.reset();
  buffers_.reset();
  ring_.reset();
}

void Shard::turn() {
  progress_.fetch_add(1, std::memory_order_relaxed);
  const bool measured = stages_.begin_turn();
  if (!handshakes_.empty()) {
    // A step takes longer than most turns: the replies of the last one do not wait for it.
    stages_.in_kernel(obs::Stage::kReply, [this] { return ring_->submit(); });
    run_handshakes();
  }
  const bool accepting = arm_accepts();
  lane_->shard_wake.announce();
  const bool nothing_due = timers_->empty() && accepting && !draining_;
  if (nothing_due) update_counters();  // it may be a long sleep
  std::int64_t timeout_ns = nothing_due ? -1 : uring::TimerWheel::kTickNs;
  if (resolver_ != nullptr) {
    const std::int64_t dns_ns = resolver_->wait_ns(now_.mono);
    if (dns_ns >= 0 && (timeout_ns < 0 || dns_ns < timeout_ns)) timeout_ns = dns_ns;
  }
  const bool more_to_do = !touched_checks_.empty() || !handshakes_.empty() || !dirty_.empty() ||
                          delivery_->unannounced() > 0;
  if (!lane_->from_writer.empty() || more_to_do) timeout_ns = 0;
  // What is queued is replies, mostly: in a measured turn their sending is a call of its own.
  if (measured) {
    stages_.in_kernel(obs::Stage::kReply, [this] { return ring_->submit(); });
    // Sends complete at once, and a wait for what is there already would not enter the kernel,
    // which is where receiving happens.
    if (ring_->ready() > 0) timeout_ns = 0;
  }
  const auto completions =
      stages_.in_kernel(obs::Stage::kReceive, [&] { return ring_->submit_and_wait(timeout_ns); });
  lane_->shard_wake.withdraw();

  now_ = base::read_clocks();
  counters_.add(obs::Counter::kLoopTurns);
  counters_.add(obs::Counter::kCompletions, completions.size());
  for (const uring::Completion& completion : completions) dispatch(completion);

  {
    const obs::InStage stage(stages_, obs::Stage::kCommit);
    while (Message* message = delivery_->next_decided()) on_decided(*message);
  }
  if (resolver_ != nullptr) {
    const obs::InStage stage(stages_, obs::Stage::kEvaluate);
    resolver_->on_turn(now_.mono);
    end_overdue_checks();
  }
  timers_->advance(now_.mono, [this](uring::Timer& timer) {
    on_timer(*static_cast<ClientTimer&>(timer).client);
  });
  if (shared_.draining.load(std::memory_order_relaxed) && !draining_) start_draining();
  if (draining_) drain_overdue();

  const bool gathering = gathers_more();
  if (!gathering) run_checks();
  relieve_memory();
  {
    const obs::InStage stage(stages_, obs::Stage::kReply);
    while (Client* client = dirty_.front()) {
      dirty_.remove(*client);
      end_of_turn(*client);
    }
  }
  if (!gathering && delivery_->unannounced() > 0) {
    const obs::InStage stage(stages_, obs::Stage::kCommit);
    delivery_->announced();
    shared_.writer.wake();
  }
  buffers_->replenish();
  resume_starved();
  if (now_.mono.ns - last_update_ns_ >= kCountersEveryNs) update_counters();
  stages_.end_turn();
}

// Few messages leave hash lanes empty and make a small commit. Then the ring is looked at once
// more, without waiting, and again while each look brings more: true as long as that goes on.
bool Shard::gathers_more() {
  const std::size_t gathered = touched_checks_.size() + delivery_->unannounced();
  const bool more = gathered > gathered_ && gathered < kGatheredEnough;
  gathered_ = more ? gathered : 0;
  return more;
}

void Shard::dispatch(const uring::Completion& completion) {
  switch (completion.tag.operation) {
    case Operation::kAccept:
      on_accept(completion);
      return;
    case Operation::kWake:
      arm_wake();
      return;
    case Operation::kPoll: {
      const obs::InStage stage(stages_, obs::Stage::kEvaluate);
      resolver_->on_poll(completion, now_.mono);
      return;
    }
    case Operation::kReceive:
    case Operation::kSend:
      break;
    default:
      return;  // completions nobody waits for
  }
  Client* client = clients_->find({completion.tag.slot, completion.tag.generation});
  // A client is freed only when none of its operations is in flight.
  MXRING_ASSERT(client != nullptr);
  if (completion.tag.operation == Operation::kReceive) {
    on_receive(*client, completion);
  } else {
    on_send(*client, completion);
  }
}

void Shard::arm_wake() {
  ring_->read(event_fd_, &event_value_, sizeof event_value_, {Operation::kWake, 0, 0});
}

// True when every listener is armed.
bool Shard::arm_accepts() {
  if (now_.mono.ns < accept_retry_ns_) return false;
  for (std::uint32_t i = 0; i < listeners_.size(); ++i) {
    for (int& armed = accepts_armed_[i]; armed < kAcceptsPerTurn; ++armed) {
      ring_->accept(listeners_[i].fd(), {Operation::kAccept, 0, i});
    }
  }
  return true;
}

void Shard::on_accept(const uring::Completion& completion) {
  --accepts_armed_[completion.tag.slot];
  if (completion.result < 0) {
    // Such as EMFILE: descriptors come back as clients leave, so try again, but not at once.
    accept_retry_ns_ = now_.mono.ns + kAcceptRetryNs;
    return;
  }
  counters_.add(obs::Counter::kConnectionsAccepted);
  welcome(completion.result, completion.tag.slot >= implicit_tls_from_);
}

void Shard::welcome(int fd, bool implicit_tls) {
  if (draining_) return turn_away(fd, implicit_tls, replies::kDraining);
  const base::Endpoint peer = net::peer_of(fd);
  if (!shared_.gate.enter(peer.address)) {
    return turn_away(fd, implicit_tls, replies::kTooManyConnections);
  }
  Clients::Ref ref;
  Client* client =
      clients_->acquire(&ref, *connection_context_, session_options_, counters_, fd, ref);
  if (client == nullptr) {
    shared_.gate.leave(peer.address);
    return turn_away(fd, implicit_tls, replies::kTooManyConnections);
  }
  client->address = peer.address;
  client->facts.address = peer.address;
  client->facts.ip = peer.address.to_string();
  client->facts.port = peer.port;
  client->facts.is_v6 = !peer.address.is_v4();

  ++direct_system_calls_;
  if (implicit_tls) {
    begin_tls(*client);
  } else {
    char byte = 0;
    greet(*client, ::recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
    ++direct_system_calls_;
  }
  client->connection.resume_receiving();
  begin_name(*client);
  set_timer(*client);
  mark_dirty(*client);
}

void Shard::greet(Client& client, bool spoke_early) {
  smtp::ReplyBuffer out(client.connection.output(), &client.replies);
  // A client that already spoke did not wait for the banner (RFC 5321 3.1).
  if (spoke_early) {
    client.session.refuse_early_talker(out);
    client.phase = Client::Phase::kLastWords;
  } else {
    client.session.greet(out);
  }
  client.connection.wrote(out.size());
  client.greeted = true;
}

void Shard::turn_away(int fd, bool implicit_tls, const smtp::Reply& reply) {
  counters_.add(obs::Counter::kConnectionsRefused);
  if (implicit_tls) {
    // A reply in the clear would mean nothing to it.
    ::close(fd);
    ++direct_system_calls_;
    return;
  }
  std::array<char, smtp::kReplyBytesMax> line{};
  ReplyCounter counter(counters_);
  smtp::ReplyBuffer out(line, &counter);
  out.say(reply, smtp::Stage::kConnect);
  // The socket is new and its send buffer empty: this neither blocks nor falls short.
  [[maybe_unused]] const ssize_t sent =
      ::send(fd, line.data(), out.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  ::close(fd);
  direct_system_calls_ += 2;
}

void Shard::start_draining() {
  draining_ = true;
  const bool failed = shared_.writer.failed();
  drain_deadline_ns_ = now_.mono.ns + (failed ? 0 : shared_.config.limits.drain_ns);
  clients_->for_each([this](Client& client) {
    const bool busy = client.session.in_transaction() || client.waiting();
    if (!busy) say_last_words(client, replies::kDraining);
  });
}

void Shard::drain_overdue() {
  if (now_.mono.ns < drain_deadline_ns_) return;
  const bool give_up = now_.mono.ns >= drain_deadline_ns_ + kDrainGraceNs;
  clients_->for_each([&](Client& client) {
    if (give_up) {
      shut(client);
      mark_dirty(client);
    } else if (!client.awaiting_commit) {
      say_last_words(client, replies::kDraining);
    }
  });
}

bool Shard::finished() {
  if (!drained_ && draining_ && clients_->live() == 0 && delivery_->in_flight() == 0) {
    drained_ = true;
    shared_.undrained.fetch_sub(1, std::memory_order_relaxed);
  }
  return drained_ && shared_.undrained.load(std::memory_order_relaxed) == 0;
}

void Shard::update_counters() {
  last_update_ns_ = now_.mono.ns;
  timespec cpu{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
  counters_.set(obs::Counter::kLoopCpuNs,
                static_cast<std::uint64_t>(cpu.tv_sec * base::kNsPerSecond + cpu.tv_nsec));
  counters_.set(obs::Counter::kSystemCalls, ring_->system_calls() + direct_system_calls_);
  counters_.set(obs::Counter::kHeapAllocations, obs::thread_allocations());
}

}  // namespace mxring::server
