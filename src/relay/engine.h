// What is to be delivered when: window, order, lanes, retries, dead letters. No I/O and no clock:
// records are admitted, start() says which attempt is to begin, and what came of it is told.
//
//   engine.admit({offset, offset + 1, lanes, bytes});
//   while (auto ticket = engine.start(now)) sink.begin(*ticket, ...);
//   engine.done(ticket);                      // or
//   engine.failed(ticket, failure, now);      // kDead: write the letter, then buried(ticket)
//   reader.commit(engine.committable());
//
// Everything below committable() has been dealt with: delivered, filtered away or buried. An entry
// leaves the window only by done() or buried(); nothing else moves committable() past it.
//
// Thread: one. Memory: the window's, kept and used again. Randomness: from the seed alone.
#pragma once

#include <mxring/record.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"

namespace mxring::relay {

enum class Order : std::uint8_t {
  kOffset,  // one at a time
  kLane,    // records that share a lane one at a time, in the order of their offsets
  kNone,    // as many at a time as may be under way
  kChain,   // many under way, begun in the order of their offsets; when one fails, so do all that
            // were begun after it, and nothing begins before it is tried again
};

struct RetryPlan {
  std::int64_t first_ns = base::kNsPerSecond;
  std::int64_t max_ns = 300 * base::kNsPerSecond;
  std::int64_t give_up_after_ns = 0;  // since the first attempt; 0 = never
};

struct EngineOptions {
  Order order = Order::kOffset;
  std::uint32_t under_way_max = 1;
  std::uint64_t under_way_bytes = ~std::uint64_t{0};
  std::uint32_t window_records = 1000;
  std::uint64_t window_bytes = 16ULL << 20;
  RetryPlan retry;
  std::uint32_t dead_in_a_row = 10;  // then it is the sink, not the mail; 0 = never
  std::uint64_t seed = 0;
};

// One attempt. What is told about an attempt that is not under way any more is passed over.
struct Ticket {
  std::uint32_t slot = 0;
  std::uint32_t attempt = 0;  // of all this slot has had
  friend bool operator==(const Ticket&, const Ticket&) = default;
};

struct Failure {
  bool for_good = false;     // a dead letter; else later
  bool partly = false;       // others of its recipients have it: says nothing against the sink
  std::int64_t wait_ns = 0;  // what the sink asked for, at least
  bool everybody = false;    // nothing else may begin before either
};

enum class Fate : std::uint8_t {
  kStale,  // not under way any more
  kRetry,
  kDead,  // to be written down, then buried()
};

class Engine {
 public:
  explicit Engine(const EngineOptions& options);

  struct Admission {
    Offset first = 0;
    Offset next = 0;  // one past the record; of a gap, one past its last
    std::span<const std::uint64_t> lanes;
    std::uint64_t bytes = 0;
    bool aside = false;  // a dead letter's new attempt: committable() does not wait for it
  };
  // Room for at least one more, however large.
  bool has_room() const;
  std::uint32_t admit(const Admission& admission);  // its slot
  // Read up to here; what was not admitted needs no delivery.
  void read_to(Offset next);

  std::optional<Ticket> start(base::Now now);
  void done(Ticket ticket);
  Fate failed(Ticket ticket, const Failure& failure, base::Now now);
  void buried(Ticket ticket);
  // It could not be written down: another attempt later.
  void not_buried(Ticket ticket, base::Now now);
  // Everything is forgotten; the next record admitted is this one.
  void restart_at(Offset next);

  bool is_current(Ticket ticket) const;
  Offset committable() const;
  Offset position() const { return read_to_; }
  // When start() may have something; nothing: not before something is told or admitted.
  std::optional<base::MonoTime> due() const;
  bool should_pause() const {
    return options_.dead_in_a_row != 0 && dead_in_a_row_ >= options_.dead_in_a_row;
  }

  std::uint32_t attempts(std::uint32_t slot) const { return entries_[slot].attempts; }
  base::WallTime first_attempt(std::uint32_t slot) const { return entries_[slot].first_wall; }
  bool is_aside(std::uint32_t slot) const { return entries_[slot].aside; }
  Offset offset(std::uint32_t slot) const { return entries_[slot].first; }
  std::uint32_t open() const { return open_; }  // admitted and not settled
  std::uint32_t under_way() const { return under_way_; }
  std::uint32_t waiting() const { return waiting_; }  // failed, until their time
  std::uint64_t window_bytes() const { return bytes_; }
  void invariants() const;

 private:
  enum class State : std::uint8_t {
    kFree,
    kBlocked,
    kReady,
    kUnderWay,
    kWaiting,
    kDying,
    kSettled
  };
  struct Entry {
    State state = State::kFree;
    bool aside = false;
    Offset first = 0;
    Offset next = 0;
    std::uint64_t sequence = 0;
    std::uint64_t bytes = 0;
    std::vector<std::uint64_t> lanes;
    std::uint32_t blocked_by = 0;  // lanes in which others come first
    std::uint32_t ticket = 0;
    std::uint32_t attempts = 0;
    base::MonoTime first_attempt;
    base::WallTime first_wall;
    base::MonoTime retry_at;
  };
  struct Place {
    std::uint64_t sequence;
    std::uint32_t slot;
  };
  struct Alarm {
    base::MonoTime at;
    std::uint32_t slot;
    std::uint32_t ticket;
  };
  friend bool operator<(const Place& a, const Place& b) { return a.sequence > b.sequence; }
  friend bool operator<(const Alarm& a, const Alarm& b) { return a.at > b.at; }

  void set_state(std::uint32_t slot, State state);
  void make_ready(std::uint32_t slot);
  bool is_full() const;  // as much is under way as may be
  void wake(base::Now now);
  void recall_after(std::uint64_t sequence);
  void retry_later(std::uint32_t slot, std::int64_t wait_ns, base::Now now);
  void settle(std::uint32_t slot);
  void leave_lanes(std::uint32_t slot);
  std::int64_t backoff_ns(std::uint32_t attempts);
  double random_unit();

  EngineOptions options_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> free_;
  std::deque<std::uint32_t> in_order_;  // not aside: from the lowest open one on
  std::unordered_map<std::uint64_t, std::deque<std::uint32_t>> lanes_;
  std::vector<Place> ready_;   // heap, the earliest first
  std::vector<Alarm> alarms_;  // heap; entries that are not waiting any more are passed over
  Offset read_to_ = 0;
  std::uint64_t sequence_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t under_way_bytes_ = 0;
  std::uint32_t open_ = 0;
  std::uint32_t under_way_ = 0;
  std::uint32_t waiting_ = 0;
  std::uint32_t dead_in_a_row_ = 0;
  base::MonoTime everybody_waits_;
  std::uint64_t random_;
};

}  // namespace mxring::relay
