// Everything a shard keeps about one connected client. Lives in the shard's SlotPool; must stay
// small, since most clients of a bulk receiver are idle most of the time.
// Thread: the shard's.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#include "base/intrusive_list.h"
#include "base/ip_address.h"
#include "base/slot_pool.h"
#include "net/connection.h"
#include "server/client_name.h"
#include "server/delivery.h"
#include "server/message.h"
#include "server/message_check.h"
#include "server/result_counters.h"
#include "smtp/session.h"
#include "uring/timer_wheel.h"

namespace mxring::server {

// Bytes received in each sixth of the data-rate window, so that "any window" is honoured to within
// a sixth of it.
class RateWindow {
 public:
  static constexpr std::size_t kParts = 6;

  void restart() {
    parts_ = {};
    filled_ = 0;
  }
  void add(std::uint64_t bytes) { parts_[current_] += bytes; }
  // A sixth has passed. True when a whole window is known and held fewer than `bytes_min`.
  bool turn(std::uint64_t bytes_min) {
    filled_ = std::min(filled_ + 1, kParts);
    const bool slow = filled_ == kParts &&
                      std::accumulate(parts_.begin(), parts_.end(), std::uint64_t{0}) < bytes_min;
    current_ = (current_ + 1) % kParts;
    parts_[current_] = 0;
    return slow;
  }

 private:
  std::array<std::uint64_t, kParts> parts_{};
  std::size_t current_ = 0;
  std::size_t filled_ = 0;
};

struct Client;

struct ClientTimer : uring::Timer {
  Client* client = nullptr;
};

struct Client {
  enum class Phase : std::uint8_t {
    kHandshake,  // TLS is being set up; the session has not begun, or forgets what it knew
    kTalking,
    kLastWords,  // the final reply is being sent
    kLingering,  // sent; waiting for the peer to close so that it can read the reply
    kShut,       // winding up ring operations
  };

  Client(net::Connection::Context& context, const smtp::SessionOptions& options,
         obs::CounterSet& counters, int fd, const base::SlotRef& self)
      : connection(context, fd, self.slot, self.generation),
        session(options),
        replies(counters),
        ref(self) {
    timer.client = this;
  }

  net::Connection connection;
  smtp::Session session;
  ReplyCounter replies;  // hears of every reply
  ClientFacts facts;
  base::IpAddress address;
  const base::SlotRef ref;

  Message* message = nullptr;  // under reception
  Phase phase = Phase::kTalking;
  ClientName* name = nullptr;     // being looked up, or found; none where nothing asks DNS
  MessageCheck* check = nullptr;  // SPF, DKIM and DMARC of this transaction
  bool awaiting_check = false;    // the message is here, its verdict is not
  bool awaiting_commit = false;
  bool output_full = false;    // no room for a reply until the send in flight is done
  bool slowed = false;         // soft error limit: nothing is parsed until the timer
  bool input_paused = false;   // too many unparsed chunks
  bool memory_paused = false;  // too little message memory

  bool greeted = false;  // the banner was sent, in the clear or under TLS

  ClientTimer timer;
  bool timer_ticks = false;  // it measures the data rate (or the slow-down), not idleness
  RateWindow rate;
  std::int64_t paused_since_ns = 0;
  std::int64_t handshake_deadline_ns = 0;
  std::uint64_t counted_tls_copies = 0;
  std::uint64_t counted_commands = 0;
  std::uint64_t counted_copies = 0;

  bool waiting() const { return awaiting_check || awaiting_commit; }

  base::ListHook dirty_hook;      // has output to flush, or may be closed, at the end of this turn
  base::ListHook starved_hook;    // its receive found no buffer
  base::ListHook handshake_hook;  // waits for its turn to go on with the TLS handshake
};

}  // namespace mxring::server
