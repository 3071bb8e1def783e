#include "server/shard.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <future>
#include <utility>

#include "base/assert.h"
#include "base/probe.h"
#include "obs/allocations.h"
#include "server/acceptor.h"
#include "server/block_list_check.h"
#include "server/buffer_plan.h"
#include "server/check_batch.h"
#include "server/conversation.h"
#include "server/crash_report.h"
#include "server/journal.h"
#include "server/ledger.h"
#include "server/memory_gate.h"
#include "server/trace.h"
#include "server/turn_context.h"
#include "smtp/reply.h"
#include "uring/ring.h"

namespace mxring::server {

using uring::Operation;

namespace {

namespace replies = smtp::replies;

constexpr std::int64_t kCountersEveryNs = base::kNsPerSecond;
constexpr std::size_t kGatheredEnough = 16;  // messages: what the widest hash lanes take
// Of one loop turn, before everybody else goes on: about one step of a TLS handshake with an ECDSA
// key. One with an RSA key takes longer.
constexpr std::int64_t kHandshakesNs = base::kNsPerMs / 5;
constexpr std::int64_t kDrainHandshakesNs = 2 * base::kNsPerSecond;
constexpr std::int64_t kDrainGraceNs = 2 * base::kNsPerSecond;  // to send the last 421s

#ifdef NDEBUG
constexpr bool kCheckEachTurn = false;
#else
constexpr bool kCheckEachTurn = true;
#endif
constexpr std::uint32_t kCheckEachTurnMax = 256;  // conversations

void pin_to(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<unsigned>(cpu), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

Conversation& conversation_of(ConversationMarks& marks) {
  return static_cast<Conversation&>(marks);
}

}  // namespace

// All that belongs to the thread, in the order of construction: each may refer to those above.
struct Shard::Core {
  using Conversations = base::SlotPool<Conversation>;

  Core(Shard& shard, std::unique_ptr<uring::Ring> made, uring::BufferPool pool,
       std::unique_ptr<Resolver> asked, base::Now now);
  static std::expected<std::unique_ptr<Core>, std::string> create(Shard& shard);

  std::unique_ptr<uring::Ring> ring;
  uring::BufferPool buffers;
  net::OutputPool outputs;
  net::Connection::Context connections{*ring, buffers, outputs};
  uring::TimerWheel timers;
  obs::StageClock stages;
  Delivery delivery;
  std::unique_ptr<Resolver> resolver;  // none when nothing asks DNS
  std::optional<CheckBatch> checks;
  std::optional<BlockListBatch> lists;
  MemoryGate memory;
  TurnContext context;
  Acceptor acceptor;
  Conversations conversations;

  std::uint64_t event_value = 0;
  std::size_t gathered = 0;  // messages the last turn left for the next to work on
  std::int64_t last_update_ns = 0;
  std::int64_t drain_deadline_ns = 0;
  bool drained = false;
};

Shard::Core::Core(Shard& shard, std::unique_ptr<uring::Ring> made, uring::BufferPool pool,
                  std::unique_ptr<Resolver> asked, base::Now now)
    : ring(std::move(made)),
      buffers(std::move(pool)),
      timers(now.mono),
      stages(shard.counters_),
      delivery({.buffers = buffers,
                .limits = shard.shared_.config.limits,
                .from_line = shard.shared_.config.syntax.from_line,
                .hostname = shard.shared_.config.hostname,
                .shard = shard.number_,
                .to_writer = shard.lane_->to_writer,
                .from_writer = shard.lane_->from_writer,
                .counters = shard.counters_}),
      resolver(std::move(asked)),
      memory({.buffers = buffers,
              .buffers_low = plan_buffers(shard.shared_.config).low,
              .limits = shard.shared_.config.limits,
              .counters = shard.counters_}),
      context{.rules = shard.shared_.rules.current(),
              .rates = shard.shared_.rates,
              .gate = shard.shared_.gate,
              .counters = shard.counters_,
              .stages = stages,
              .timers = timers,
              .delivery = delivery,
              .memory = memory,
              .certificates = shard.shared_.certificates,
              .journal = shard.shared_.journal,
              .sessions = std::uint64_t{shard.number_} << 48,
              .now = now},
      acceptor(context, *ring, shard.shared_.gate, std::move(shard.listeners_)),
      conversations(shard.shared_.config.limits.connections) {
  if (resolver == nullptr) return;
  lists.emplace(resolver->client(), shard.shared_.list_health);
  context.lists = &*lists;
  const Config::Auth& auth = shard.shared_.config.auth;
  if (!auth.spf && !auth.dkim && !auth.dmarc) return;
  checks.emplace(
      CheckBatch::Setup{.limits = shard.shared_.config.limits,
                        .options = {.spf = auth.spf, .dkim = auth.dkim, .dmarc = auth.dmarc},
                        .dns = resolver->client(),
                        .stages = stages});
  context.checks = &*checks;
}

std::expected<std::unique_ptr<Shard::Core>, std::string> Shard::Core::create(Shard& shard) {
  const Config& config = shard.shared_.config;
  auto ring = uring::Ring::create(
      {config.shards.submission_entries, config.shards.completion_entries, config.shards.engine,
       /*connects=*/false},
      shard.shared_.faults);
  if (!ring) return std::unexpected(ring.error().message);
  if (shard.number_ == 0 && !ring->fallback_reason().empty()) {
    shard.shared_.notice(
        fmt::format("warning: receiving on epoll, which costs more processor time for "
                    "each message (bench/README.md): {}",
                    ring->fallback_reason()));
  }
  auto stays = std::make_unique<uring::Ring>(std::move(*ring));
  auto buffers = uring::BufferPool::create(*stays, plan_buffers(config).pool);
  if (!buffers) return std::unexpected(buffers.error().message);
  const base::Now now = base::read_clocks();
  std::unique_ptr<Resolver> resolver;
  if (asks_dns(config)) {
    auto made = Resolver::create(config, *stays, shard.shared_.resolver_health);
    if (!made) return std::unexpected(made.error());
    resolver = std::move(*made);
    resolver->start(now.mono);
  }
  return std::make_unique<Core>(shard, std::move(stays), std::move(*buffers), std::move(resolver),
                                now);
}

Shard::Shard(ShardShared shared, std::uint32_t number, int cpu, ShardListeners listeners,
             obs::CounterSet& counters)
    : shared_(std::move(shared)),
      number_(number),
      cpu_(cpu),
      listeners_(std::move(listeners)),
      counters_(counters),
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

void Shard::run(std::function<void(std::string)> started) {
  pthread_setname_np(pthread_self(), ("mxring-" + std::to_string(number_)).c_str());
  pin_to(cpu_);
  auto core = Core::create(*this);
  const bool ready = core.has_value();
  if (ready) {
    core_ = std::move(*core);
    shared_.undrained.fetch_add(1, std::memory_order_relaxed);
  }
  started(ready ? std::string() : core.error());
  if (ready) {
    arm_wake();
    crash_report::watch(number_, &turns_);
    while (!finished()) turn();
    core_->ring->submit();  // what the last turn closed
    check_at_rest();
    crash_report::forget(number_);
    update_counters();
  }
  core_.reset();  // no operation on a conversation is in flight any more
  ended_.store(true, std::memory_order_relaxed);
}

// Collect what has happened, then act on all of it, then answer.
void Shard::turn() {
  Core& core = *core_;
  TurnContext& context = core.context;
  progress_.fetch_add(1, std::memory_order_relaxed);
  const bool measured = core.stages.begin_turn();
  run_handshakes();
  const std::int64_t timeout_ns = wait_ns(core.acceptor.arm());
  lane_->shard_wake.announce();
  const bool work_left = !lane_->from_writer.empty();
  // What is queued is replies, mostly: in a measured turn their sending is a call of its own.
  if (measured) core.stages.in_kernel(obs::Stage::kReply, [&] { return core.ring->submit(); });
  // Sends complete at once, and a wait for what is there already would not enter the kernel, which
  // is where receiving happens.
  const bool ready = measured && core.ring->ready() > 0;
  const auto completions = core.stages.in_kernel(obs::Stage::kReceive, [&] {
    return core.ring->submit_and_wait(work_left || ready ? 0 : timeout_ns);
  });
  lane_->shard_wake.withdraw();

  context.now = base::read_clocks();
  context.storage_low = shared_.writer.storage_low();
  take_rules();
  take_tracers();
  turns_.record({.number = progress(),
                 .began_ns = context.now.mono.ns,
                 .completions = completions.size(),
                 .connections = core.conversations.live()});
  counters_.add(obs::Counter::kLoopTurns);
  counters_.add(obs::Counter::kCompletions, completions.size());
  for (const uring::Completion& completion : completions) dispatch(completion);
  take_decided();
  if (core.resolver != nullptr) {
    const obs::InStage stage(core.stages, obs::Stage::kEvaluate);
    core.resolver->on_turn(context.now.mono);
    if (core.checks) core.checks->end_overdue(context.now.mono);
  }
  core.timers.advance(context.now.mono, [](uring::Timer& timer) {
    static_cast<ConversationTimer&>(timer).conversation->on_timer();
  });
  if (shared_.draining.load(std::memory_order_relaxed) && !context.draining) start_draining();
  if (context.draining) drain_overdue();

  work_off();
  end_turn();
}

std::int64_t Shard::wait_ns(bool accepting) {
  Core& core = *core_;
  const bool more_to_do = (core.checks && core.checks->touched() > 0) ||
                          !core.context.handshakes.empty() || !core.context.dirty.empty() ||
                          core.delivery.unannounced() > 0;
  if (more_to_do) return 0;
  const bool nothing_due = core.timers.empty() && accepting && !core.context.draining;
  if (nothing_due) update_counters();  // it may be a long sleep
  std::int64_t timeout_ns = nothing_due ? -1 : uring::TimerWheel::kTickNs;
  if (core.resolver != nullptr) {
    const std::int64_t dns_ns = core.resolver->wait_ns(core.context.now.mono);
    if (dns_ns >= 0 && (timeout_ns < 0 || dns_ns < timeout_ns)) timeout_ns = dns_ns;
  }
  return timeout_ns;
}

// Everything that was marked: parsed, checked, then answered or closed. A conversation that becomes
// dirty again meanwhile waits for the next turn, which then begins at once.
void Shard::work_off() {
  Core& core = *core_;
  TurnContext& context = core.context;
  for (ConversationMarks* m = context.dirty.front(); m != nullptr; m = context.dirty.next(*m)) {
    conversation_of(*m).parse();
  }
  const bool gathering = gathers_more();
  if (!gathering && core.checks) core.checks->run(context.now);
  core.memory.relieve(context.now.mono, core.delivery.in_flight());
  {
    const obs::InStage stage(core.stages, obs::Stage::kReply);
    for (std::size_t left = context.dirty.size(); left > 0; --left) {
      Conversation& conversation = conversation_of(*context.dirty.front());
      context.dirty.remove(conversation);
      if (!conversation.end_of_turn()) continue;
      counters_.add(obs::Counter::kConnectionsClosed);
      core.acceptor.leave(conversation.place());
      core.conversations.release(conversation.ref());
    }
  }
  if (gathering || core.delivery.unannounced() == 0) return;
  const obs::InStage stage(core.stages, obs::Stage::kCommit);
  core.delivery.announced();
  shared_.writer.wake();
}

void Shard::end_turn() {
  Core& core = *core_;
  core.buffers.replenish();
  resume_starved();
  // With a crowd the look at all of them comes less often, or it would be the turn's main cost.
  const bool crowd = core.conversations.live() > kCheckEachTurnMax;
  const bool check = kCheckEachTurn || base::in_simulation();
  if (check && (!crowd || progress() % kCheckEachTurnMax == 0)) check_invariants();
  if (core.context.now.mono.ns - core.last_update_ns >= kCountersEveryNs) update_counters();
  core.stages.end_turn();
}

void Shard::check_invariants() {
  Core& core = *core_;
  core.acceptor.invariants();
  core.memory.invariants();
  if (core.checks) core.checks->invariants();
  core.conversations.for_each([](Conversation& conversation) { conversation.invariants(); });
}

// Nobody is connected and nothing is on its way: everything has come back.
void Shard::check_at_rest() {
  Core& core = *core_;
  check_invariants();
  MXRING_ASSERT(core.conversations.live() == 0 && core.delivery.in_flight() == 0);
  MXRING_ASSERT(core.buffers.held_buffers() == 0 && core.outputs.lent() == 0);
  MXRING_ASSERT(!core.checks || core.checks->live() == 0);
  MXRING_ASSERT(core.memory.heap_bytes() == 0 && core.timers.empty());
}

// Few messages leave hash lanes empty and make a small commit. Then the ring is looked at once
// more, without waiting, and again while each look brings more: true as long as that goes on.
bool Shard::gathers_more() {
  Core& core = *core_;
  const std::size_t touched = core.checks ? core.checks->touched() : 0;
  const std::size_t gathered = touched + core.delivery.unannounced();
  const bool more = gathered > core.gathered && gathered < kGatheredEnough &&
                    !MXRING_BUGGIFY("a short batch", 300);
  core.gathered = more ? gathered : 0;
  return more;
}

// A step takes longer than most turns: the replies of the last turn do not wait for it.
void Shard::run_handshakes() {
  Core& core = *core_;
  if (core.context.handshakes.empty()) return;
  core.stages.in_kernel(obs::Stage::kReply, [&] { return core.ring->submit(); });
  const std::int64_t end_ns = base::read_clocks().mono.ns + kHandshakesNs;
  while (ConversationMarks* marks = core.context.handshakes.front()) {
    core.context.handshakes.remove(*marks);
    conversation_of(*marks).step_handshake();
    if (base::read_clocks().mono.ns >= end_ns) {
      MXRING_PROBE("TLS: handshakes are left for the next turn");
      return;
    }
  }
}

void Shard::dispatch(const uring::Completion& completion) {
  Core& core = *core_;
  switch (completion.tag.operation) {
    case Operation::kAccept:
      on_accept(completion);
      return;
    case Operation::kWake:
      arm_wake();
      return;
    case Operation::kPoll: {
      const obs::InStage stage(core.stages, obs::Stage::kEvaluate);
      core.resolver->on_poll(completion, core.context.now.mono);
      return;
    }
    case Operation::kReceive:
    case Operation::kSend:
      break;
    default:
      return;  // completions nobody waits for
  }
  Conversation* conversation =
      core.conversations.find({completion.tag.slot, completion.tag.generation});
  // It is freed only when none of its operations is in flight.
  MXRING_ASSERT(conversation != nullptr);
  if (completion.tag.operation == Operation::kReceive) {
    conversation->on_receive(completion);
  } else {
    conversation->on_send(completion);
  }
}

// Before anything of this turn is handled, so that all of it goes by the same rules.
void Shard::take_rules() {
  const std::uint64_t edition = shared_.rules.edition();
  if (edition == rules_edition_) return;
  rules_edition_ = edition;
  core_->context.rules = shared_.rules.current();
}

void Shard::take_tracers() {
  if (shared_.traces == nullptr) return;
  const std::uint32_t edition = shared_.traces->edition();
  if (edition == trace_edition_) return;
  trace_edition_ = edition;
  tracers_ = shared_.traces->current();
  core_->context.tracers = tracers_.get();
}

// With a crowd less often, so that looking stays a small part of the work.
void Shard::count_activities() {
  constexpr std::uint32_t kCrowd = 4096;
  Core& core = *core_;
  if (core.conversations.live() == 0) activity_rounds_ = 0;
  if (core.conversations.live() > kCrowd && ++activity_rounds_ % 8 != 0) return;
  constexpr auto kActivities = static_cast<std::size_t>(Conversation::Activity::kCount);
  constexpr auto kFirst = static_cast<std::size_t>(obs::Counter::kActivityHandshake);
  static_assert(static_cast<std::size_t>(obs::Counter::kActivityClosing) ==
                kFirst + kActivities - 1);
  std::array<std::uint64_t, kActivities> counts{};
  if (core.conversations.live() > 0) {
    core.conversations.for_each([&counts](const Conversation& conversation) {
      ++counts[static_cast<std::size_t>(conversation.activity())];
    });
  }
  for (std::size_t i = 0; i < kActivities; ++i) {
    counters_.set(static_cast<obs::Counter>(kFirst + i), counts[i]);
  }
}

void Shard::arm_wake() {
  core_->ring->read(event_fd_, &core_->event_value, sizeof core_->event_value,
                    {Operation::kWake, 0, 0});
}

void Shard::on_accept(const uring::Completion& completion) {
  Core& core = *core_;
  Acceptor::Newcomer newcomer;
  if (!core.acceptor.on_accept(completion, &newcomer)) return;
  base::SlotRef ref;
  Conversation* conversation = nullptr;
  if (!MXRING_BUGGIFY("no place for a conversation", 50)) {
    conversation = core.conversations.acquire(&ref, core.context, core.connections, newcomer.fd,
                                              newcomer.peer, ref);
  }
  if (conversation == nullptr) {
    MXRING_PROBE("accept: no place for a conversation");
    core.acceptor.leave(newcomer.place);
    core.acceptor.turn_away(newcomer, replies::kTooManyConnections);
    return;
  }
  char byte = 0;
  bool spoke_early = false;
  if (!newcomer.implicit_tls && !newcomer.sends_header) {
    spoke_early = ::recv(newcomer.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
    ++core.context.direct_system_calls;
  }
  conversation->begin({.place = newcomer.place,
                       .implicit_tls = newcomer.implicit_tls,
                       .sends_header = newcomer.sends_header,
                       .spoke_early = spoke_early});
}

void Shard::take_decided() {
  Core& core = *core_;
  const obs::InStage stage(core.stages, obs::Stage::kCommit);
  while (Message* message = core.delivery.next_decided()) {
    // Its client may have gone: it is kept all the same, only the reply is lost.
    Conversation* conversation = core.conversations.find(message->client);
    if (conversation == nullptr) MXRING_PROBE("committed after its client has gone");
    if (conversation != nullptr) conversation->on_decided(*message);
    if (message->is_refused()) {
      counters_.add(obs::Counter::kMessagesRefused);
      counters_.add(message->refusal().is_temporary() ? obs::Counter::kMessagesDeferredDmarc
                                                      : obs::Counter::kMessagesRefusedDmarc);
    } else if (message->outcome == CommitOutcome::kDurable) {
      counters_.add(obs::Counter::kMessagesAccepted);
      counters_.add(obs::Counter::kMessageBytes, message->bytes());
      const std::int64_t waited_us = core.context.now.wall.us - message->received_at.us;
      durable_ns_.record(static_cast<std::uint64_t>(std::max<std::int64_t>(waited_us, 0)) * 1000);
    } else {
      counters_.add(obs::Counter::kMessagesRefused);
    }
    core.delivery.recycle(message);
  }
}

// Each of them once a turn. Those that want to receive may take a buffer at once: no more of them
// than there are buffers on offer. They do so at the end of the next turn, if nothing else speaks
// against it by then.
void Shard::resume_starved() {
  TurnContext& context = core_->context;
  std::uint32_t grants = core_->buffers.offered_buffers();
  if (grants > 1 && MXRING_BUGGIFY("one starved connection goes on", 500)) grants = 1;
  for (std::size_t left = context.starved.size(); left > 0 && grants > 0; --left) {
    Conversation& conversation = conversation_of(*context.starved.front());
    context.starved.remove(conversation);
    if (conversation.wants_buffer()) --grants;
    conversation.on_buffers();
  }
}

void Shard::start_draining() {
  Core& core = *core_;
  core.context.draining = true;
  MXRING_PROBE("drain: it begins");
  core.acceptor.drain();
  const std::int64_t now_ns = core.context.now.mono.ns;
  const std::int64_t drain_ns = core.context.rules->config.limits.drain_ns;
  const std::int64_t patience_ns = shared_.writer.failed() ? 0 : drain_ns;
  core.context.handshakes_end_ns = now_ns + std::min(patience_ns, kDrainHandshakesNs);
  core.drain_deadline_ns = now_ns + patience_ns;
  core.conversations.for_each([](Conversation& conversation) {
    if (conversation.in_transaction() || conversation.may_end_handshake()) return;
    conversation.say_last_words(replies::kDraining);
  });
}

void Shard::drain_overdue() {
  Core& core = *core_;
  const std::int64_t now_ns = core.context.now.mono.ns;
  if (now_ns < core.context.handshakes_end_ns) return;
  const bool late = now_ns >= core.drain_deadline_ns;
  const bool give_up = now_ns >= core.drain_deadline_ns + kDrainGraceNs;
  core.conversations.for_each([&](Conversation& conversation) {
    const bool may_go = late && conversation.hold() != Conversation::Hold::kCommit;
    if (give_up) {
      MXRING_PROBE("drain: a client is cut off");
      conversation.cut_off(CutOff::kNotReadingDraining);
    } else if (may_go || conversation.in_handshake()) {
      conversation.say_last_words(replies::kDraining);
    }
  });
}

bool Shard::finished() {
  Core& core = *core_;
  const bool idle = core.conversations.live() == 0 && core.delivery.in_flight() == 0;
  const bool at_rest = idle && core.acceptor.quiet();
  if (!core.drained && core.context.draining && at_rest) {
    core.drained = true;
    shared_.undrained.fetch_sub(1, std::memory_order_relaxed);
  }
  return core.drained && at_rest && shared_.undrained.load(std::memory_order_relaxed) == 0;
}

void Shard::update_counters() {
  Core& core = *core_;
  core.last_update_ns = core.context.now.mono.ns;
  count_activities();
  const std::uint64_t places = shared_.config.limits.connections;
  core.context.connections_short = std::uint64_t{shared_.gate.all()} * 10 >= places * 9;
  counters_.set(obs::Counter::kLoopCpuNs, thread_cpu_ns());
  const std::uint64_t calls = core.ring->system_calls() + core.context.direct_system_calls;
  counters_.set(obs::Counter::kSystemCalls, calls);
  counters_.set(obs::Counter::kHeapAllocations, obs::thread_allocations());
  const uring::BufferPool& pool = core.buffers;
  const std::uint64_t buffers =
      pool.options().buffers - pool.options().kept_back - pool.options().offered;
  const std::uint64_t used = buffers - std::min<std::uint64_t>(buffers, pool.free_buffers());
  counters_.set(obs::Counter::kMemoryInFlight,
                used * pool.options().buffer_bytes + core.memory.heap_bytes());
  if (core.resolver != nullptr) update_dns_counters();
}

void Shard::update_dns_counters() {
  dns::Client& client = core_->resolver->client();
  const dns::ClientStats& asked = client.stats();
  const dns::CacheStats& cached = client.cache().stats();
  counters_.set(obs::Counter::kDnsQuestions, asked.questions);
  counters_.set(obs::Counter::kDnsShared, asked.shared);
  counters_.set(obs::Counter::kDnsTimeouts, asked.timeouts);
  counters_.set(obs::Counter::kDnsFailures, asked.failures);
  counters_.set(obs::Counter::kDnsRefused, asked.refused);
  counters_.set(obs::Counter::kDnsCacheHits, cached.hits);
  counters_.set(obs::Counter::kDnsCacheMisses, cached.misses);
  counters_.set(obs::Counter::kDnsCacheBytes, client.cache().bytes());
}

}  // namespace mxring::server
