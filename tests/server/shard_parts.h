// The parts of a shard without its thread, its kernel and its sockets: an engine that only takes
// notes, and a turn that does what Shard's does. A test says what a peer sends, what the writer
// decides and what time it is, and sees what the peer would hear.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/slot_pool.h"
#include "dns/client.h"
#include "server/check_batch.h"
#include "server/conversation.h"
#include "server/memory_gate.h"
#include "server/turn_context.h"
#include "uring/engine.h"

namespace mxring::server::test {

class NotingEngine final : public uring::Engine {
 public:
  std::string_view name() const override { return "noting"; }
  void queue(const uring::Request& request) override { requests.push_back(request); }
  int submit() override { return 0; }
  void submit_and_wait(std::int64_t, std::vector<uring::Completion>&) override {}
  unsigned queued() const override { return 0; }
  unsigned ready() const override { return 0; }
  std::uint64_t system_calls() const override { return 0; }
  std::expected<void, uring::RingError> add_group(const uring::BufferGroup&) override { return {}; }
  void remove_group(std::uint16_t) override {}
  void offer(std::uint16_t, std::uint16_t id, char* memory) override {
    offered.emplace_back(id, memory);
  }
  void publish(std::uint16_t) override {}

  std::vector<uring::Request> requests;
  std::deque<std::pair<std::uint16_t, char*>> offered;
};

class NoSockets final : public dns::SocketWatcher {
 public:
  void watch(int, bool, bool) override {}
};

// One client as the test sees it.
struct Peer {
  base::SlotRef ref;
  std::string heard;
  bool reads = true;
  bool receiving = false;  // a receive is armed
  bool sending = false;    // a send is in flight
  std::uint32_t send_bytes = 0;
  bool freed = false;
};

struct ShardOptions {
  std::uint32_t buffers = 256;
  std::uint32_t buffers_low = 16;
  bool checks = false;
  std::function<void(Config&)> adjust = {};
};

class ShardParts {
 public:
  ShardParts() : ShardParts(ShardOptions{}) {}
  explicit ShardParts(const ShardOptions& options) : config(default_config()) {
    config.hostname = "mx.test";
    if (options.adjust) options.adjust(config);
    gate.change(config.limits);
    rules = std::make_shared<const Rules>(config, /*has_certificates=*/false);
    auto made = std::make_unique<NotingEngine>();
    engine = made.get();
    ring.emplace(uring::Ring::on(std::move(made), nullptr));
    auto pool = uring::BufferPool::create(
        *ring, {.group = 0, .buffer_bytes = 4096, .buffers = options.buffers, .offered = 32});
    EXPECT_TRUE(pool.has_value());
    buffers.emplace(std::move(*pool));
    connections.emplace(net::Connection::Context{*ring, *buffers, outputs});
    delivery.emplace(Delivery::Setup{.buffers = *buffers,
                                     .limits = config.limits,
                                     .hostname = config.hostname,
                                     .to_writer = to_writer,
                                     .from_writer = from_writer,
                                     .counters = counters});
    memory.emplace(MemoryGate::Setup{.buffers = *buffers,
                                     .buffers_low = options.buffers_low,
                                     .limits = config.limits,
                                     .counters = counters});
    context.reset(new TurnContext{.rules = rules,
                                  .rates = rates,
                                  .gate = gate,
                                  .counters = counters,
                                  .stages = stages,
                                  .timers = timers,
                                  .delivery = *delivery,
                                  .memory = *memory,
                                  .now = now});
    if (!options.checks) return;
    // Nobody is there: what the cache does not know has no answer.
    auto client =
        dns::Client::create({.servers = {*base::Endpoint::parse("127.0.0.1:1")}}, no_sockets);
    EXPECT_TRUE(client.has_value());
    dns = std::move(*client);
    dns->start(now.mono);
    checks.emplace(CheckBatch::Setup{.limits = config.limits,
                                     .options = {.spf = true, .dkim = true, .dmarc = false},
                                     .dns = *dns,
                                     .stages = stages});
    context->checks = &*checks;
  }

  ~ShardParts() {
    while (Message* message = take_from_writer_queue()) delivery->recycle(message);
  }

  // ---- what happens
  Peer& connect(std::string_view address = "192.0.2.1", bool spoke_early = false) {
    return arrive_as({.spoke_early = spoke_early}, address);
  }
  Peer& arrive_as(Conversation::Arrival arrival, std::string_view address = "192.0.2.1") {
    auto& peer = peers.emplace_back(std::make_unique<Peer>());
    Conversation* c = conversations.acquire(
        &peer->ref, *context, *connections, 1'000'000 + static_cast<int>(peers.size()),
        base::Endpoint{*base::IpAddress::parse(address), 4000}, peer->ref);
    EXPECT_NE(c, nullptr);
    const auto place = gate.enter(*base::IpAddress::parse(address), /*speaks_for_others=*/true);
    EXPECT_TRUE(place.has_value());
    arrival.place = *place;
    c->begin(arrival);
    turn();
    return *peer;
  }

  Conversation& of(const Peer& peer) { return *conversations.find(peer.ref); }

  // Bytes arrive; nothing is done about them before turn().
  void arrive(Peer& peer, std::string_view bytes) {
    while (!bytes.empty()) {
      ASSERT_TRUE(peer.receiving) << "the bytes stay in the kernel";
      ASSERT_FALSE(engine->offered.empty());
      const auto [id, memory_of] = engine->offered.front();
      engine->offered.pop_front();
      const std::string_view piece = bytes.substr(0, 4096);
      std::memcpy(memory_of, piece.data(), piece.size());
      bytes.remove_prefix(piece.size());
      of(peer).on_receive({.tag = {uring::Operation::kReceive, peer.ref.generation, peer.ref.slot},
                           .result = static_cast<std::int32_t>(piece.size()),
                           .more = true,
                           .has_buffer = true,
                           .buffer_id = id});
    }
  }
  // The result of a receive without bytes: 0 is the end of what the peer sends.
  void receive_ends(Peer& peer, int result) {
    peer.receiving = false;
    of(peer).on_receive({.tag = {uring::Operation::kReceive, peer.ref.generation, peer.ref.slot},
                         .result = result});
  }
  std::string say(Peer& peer, std::string_view bytes) {
    peer.heard.clear();
    for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 32'768))) {
      arrive(peer, bytes.substr(0, 32'768));
      turn();
    }
    return peer.heard;
  }
  // EHLO, MAIL, RCPT, DATA.
  Peer& at_data(std::string_view address = "192.0.2.1") {
    Peer& peer = connect(address);
    EXPECT_NE(say(peer, "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.test>\r\n"),
              "");
    EXPECT_EQ(say(peer, "DATA\r\n").substr(0, 3), "354");
    return peer;
  }
  void pass(std::int64_t ns) {
    now.mono.ns += ns;
    now.wall.us += ns / 1000;
    context->now = now;
    timers.advance(now.mono, [](uring::Timer& timer) {
      static_cast<ConversationTimer&>(timer).conversation->on_timer();
    });
    if (checks) checks->end_overdue(now.mono);
    turn();
  }
  // Everything on its way to the log.
  void decide(CommitOutcome outcome) {
    while (Message* message = take_from_writer_queue()) {
      message->outcome = outcome;
      message->offset = next_offset++;
      from_writer.push(std::move(message));
    }
    while (Message* message = delivery->next_decided()) {
      if (Conversation* c = conversations.find(message->client)) c->on_decided(*message);
      delivery->recycle(message);
    }
    turn();
  }

  // ---- the turn, as Shard's; until nothing is left to do
  void turn() {
    for (int round = 0; round < 100; ++round) {
      work_off();
      carry_out();
      if (context->dirty.empty() && (!checks || checks->touched() == 0)) return;
    }
    ADD_FAILURE() << "the turns do not end";
  }
  void work_off() {
    for (ConversationMarks* m = context->dirty.front(); m; m = context->dirty.next(*m)) {
      static_cast<Conversation&>(*m).parse();
    }
    if (checks) checks->run(now);
    memory->relieve(now.mono, delivery->in_flight());
    for (std::size_t left = context->dirty.size(); left > 0; --left) {
      auto& c = static_cast<Conversation&>(*context->dirty.front());
      context->dirty.remove(c);
      if (!c.end_of_turn()) continue;
      for (auto& peer : peers) {
        if (conversations.find(peer->ref) == &c) peer->freed = true;
      }
      gate.leave(c.place());
      conversations.release(c.ref());
    }
    buffers->replenish();
    for (std::size_t left = context->starved.size(); left > 0; --left) {
      auto& c = static_cast<Conversation&>(*context->starved.front());
      context->starved.remove(c);
      c.on_buffers();
    }
    invariants();
  }
  void invariants() {
    memory->invariants();
    if (checks) checks->invariants();
    conversations.for_each([](Conversation& c) { c.invariants(); });
  }

  Peer* peer_of(const uring::Tag& tag) {
    for (auto& peer : peers) {
      if (peer->ref.slot == tag.slot && peer->ref.generation == tag.generation) return peer.get();
    }
    return nullptr;
  }
  // What the kernel would do with what was queued.
  void carry_out() {
    const std::vector<uring::Request> requests = std::exchange(engine->requests, {});
    for (const uring::Request& request : requests) {
      Peer* peer =
          peer_of(request.kind == uring::Request::Kind::kCancel ? request.target : request.tag);
      if (peer == nullptr || peer->freed) continue;
      switch (request.kind) {
        case uring::Request::Kind::kReceiveMultishot:
          peer->receiving = true;
          break;
        case uring::Request::Kind::kSend:
          peer->sending = true;
          peer->send_bytes = request.size;
          if (!peer->reads) break;
          peer->heard.append(static_cast<const char*>(request.bytes), request.size);
          sent(*peer, static_cast<std::int32_t>(request.size));
          break;
        case uring::Request::Kind::kCancel:
          if (request.target.operation == uring::Operation::kReceive && peer->receiving) {
            receive_ends(*peer, -ECANCELED);
          } else if (request.target.operation == uring::Operation::kSend && peer->sending) {
            sent(*peer, -ECANCELED);
          }
          break;
        default:
          break;
      }
    }
  }
  void sent(Peer& peer, std::int32_t result) {
    peer.sending = false;
    of(peer).on_send(
        {.tag = {uring::Operation::kSend, peer.ref.generation, peer.ref.slot}, .result = result});
  }

  Message* take_from_writer_queue() {
    Message* message = nullptr;
    return to_writer.pop(message) ? message : nullptr;
  }
  std::uint64_t count(obs::Counter counter) const { return counters.get(counter); }

  Config config;
  std::shared_ptr<const Rules> rules;
  ClientRates rates;
  ConnectionGate gate{config.limits};
  obs::CounterRegistry registry{refusals_family()};
  obs::CounterSet& counters = registry.make_set("test");
  obs::StageClock stages{counters};
  base::Now now{{1'000'000'000'000}, {1'700'000'000'000'000}};
  uring::TimerWheel timers{now.mono};
  NotingEngine* engine = nullptr;
  std::optional<uring::Ring> ring;
  std::optional<uring::BufferPool> buffers;
  net::OutputPool outputs;
  std::optional<net::Connection::Context> connections;
  MessageQueue to_writer{64};
  MessageQueue from_writer{64};
  std::optional<Delivery> delivery;
  NoSockets no_sockets;
  std::unique_ptr<dns::Client> dns;
  std::optional<CheckBatch> checks;
  std::optional<MemoryGate> memory;
  std::unique_ptr<TurnContext> context;
  std::vector<std::unique_ptr<Peer>> peers;
  base::SlotPool<Conversation> conversations{1024};
  std::uint64_t next_offset = 0;
};

}  // namespace mxring::server::test
