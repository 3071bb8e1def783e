// What the parts of a shard share: the configuration, the moment of this turn of the loop, where to
// count, and the marks that a conversation leaves for the turn to work off. A conversation knows of
// its shard nothing else.
//
// Thread: the shard's.
#pragma once

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "obs/counters.h"
#include "obs/stage_clock.h"
#include "server/client_rates.h"
#include "server/connection_gate.h"
#include "server/delivery.h"
#include "server/rules.h"
#include "uring/timer_wheel.h"

namespace mxring::server {

class BlockListBatch;
class Certificates;
class CheckBatch;
class Journal;
class MemoryGate;
struct Tracers;

// The places a conversation may wait in, beside its timer.
struct ConversationMarks {
  base::ListHook dirty_hook;      // something happened: to be looked at in this turn
  base::ListHook starved_hook;    // its receive found no buffer
  base::ListHook handshake_hook;  // has what its next step of the TLS handshake needs
};

struct TurnContext {
  std::shared_ptr<const Rules> rules;  // for those who come in now
  ClientRates& rates;
  ConnectionGate& gate;
  obs::CounterSet& counters;
  obs::StageClock& stages;
  uring::TimerWheel& timers;
  Delivery& delivery;
  MemoryGate& memory;
  CheckBatch* checks = nullptr;                // none where no message is checked
  BlockListBatch* lists = nullptr;             // none where nothing asks DNS
  const Certificates* certificates = nullptr;  // none: no TLS at all
  Journal* journal = nullptr;                  // none: nobody writes lines
  // Those who follow dialogues, as of this turn; none almost always.
  const Tracers* tracers = nullptr;
  std::uint64_t sessions = 0;  // the last one's number; the shard's is in front

  base::Now now;
  bool draining = false;
  // While it drains: until then a TLS handshake may end, so that the client is told to go. Cut off
  // there, it cannot tell a restart from a server that is broken.
  std::int64_t handshakes_end_ns = 0;
  bool storage_low = false;
  bool connections_short =
      false;  // nine tenths of all there may be: the rest is for those who speak
  std::uint64_t direct_system_calls = 0;
  PolicyScratch policy_scratch{};

  std::uint64_t next_session() { return ++sessions; }

  // Marks.
  base::IntrusiveList<ConversationMarks, &ConversationMarks::dirty_hook> dirty{};
  base::IntrusiveList<ConversationMarks, &ConversationMarks::starved_hook> starved{};
  base::IntrusiveList<ConversationMarks, &ConversationMarks::handshake_hook> handshakes{};
};

}  // namespace mxring::server
