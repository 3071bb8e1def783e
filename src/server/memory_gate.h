// Who waits and who goes when a shard's memory runs short (design: memory for messages in flight;
// envelopes, TLS state and received buffers count in it).
//
// Everything a client makes the shard keep is counted: receive buffers exactly, from the pool, and
// the heap once a turn for each connection that did something. While it is short
//
//   - messages under reception are no longer received, but for one: the largest of those that move.
//     It is the one whose end frees memory, and neither waits nor goes.
//   - when that does not help in time, or nothing can move at all, or connections without a message
//     hold more than their share, the client (address; IPv6 /64) that holds most in sum loses its
//     largest: a message under reception is given up (452), anything else is cut off (421).
//
// Bounds: of a turn kEvictionsPerTurn, after one look at all clients.
// Thread: the shard's. Failure: none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "base/ip_address.h"
#include "base/limits.h"
#include "obs/counters.h"
#include "uring/buffer_pool.h"

namespace mxring::server {

struct HeldBytes {
  std::uint64_t buffers = 0;  // of the pool
  std::uint64_t heap = 0;
  std::uint64_t sum() const { return buffers + heap; }
};

struct MemoryAccount;

// A connection as the gate sees it. Its owner calls enter() after it is made and leave() before it
// dies; nothing else may be called from within the four functions but message_ends().
class MemoryHolder {
 public:
  virtual HeldBytes held() const = 0;
  // Of the message under reception so far.
  virtual std::uint64_t message_bytes() const = 0;
  virtual void set_memory_pause(bool on) = 0;
  virtual void give_up_for_memory() = 0;  // the message: its client hears 452 at its end
  virtual void cut_off_for_memory() = 0;  // the connection: 421

  bool paused_for_memory() const { return paused_; }

 protected:
  MemoryHolder() = default;
  MemoryHolder(const MemoryHolder&) = delete;
  MemoryHolder& operator=(const MemoryHolder&) = delete;
  virtual ~MemoryHolder() = default;

 private:
  friend class MemoryGate;
  friend struct MemoryAccount;
  MemoryAccount* account_ = nullptr;
  HeldBytes counted_;
  base::ListHook account_hook_;
  base::ListHook receiving_hook_;
  std::uint64_t moved_bytes_ = 0;  // message_bytes() when it was last seen to have grown, ...
  base::MonoTime moved_at_;        // ... and when that was
  base::MonoTime paused_at_;
  bool paused_ = false;
  bool going_ = false;  // cut off; it frees what it holds as it closes
};

// All connections of one client.
struct MemoryAccount {
  base::IpAddress client;
  std::uint64_t bytes = 0;
  std::uint64_t going = 0;  // of it, held by those cut off
  base::IntrusiveList<MemoryHolder, &MemoryHolder::account_hook_> holders;
};

class MemoryGate {
 public:
  struct Setup {
    const uring::BufferPool& buffers;
    std::uint32_t buffers_low;  // fewer free ones than this: memory is short
    const base::Limits& limits;
    obs::CounterSet& counters;
  };
  static constexpr std::size_t kEvictionsPerTurn = 16;

  explicit MemoryGate(const Setup& setup);

  void enter(MemoryHolder& holder, const base::IpAddress& client);
  void leave(MemoryHolder& holder);
  // What it holds has changed. Once a turn.
  void recount(MemoryHolder& holder);
  // Between the two it has a message under reception, or waiting for its verdict. It ends when the
  // holder holds nothing of it any more.
  void message_begins(MemoryHolder& holder, base::MonoTime now);
  void message_ends(MemoryHolder& holder);

  bool is_short() const { return available() < low_bytes(); }
  // It has received more of its message while memory is short.
  void pause(MemoryHolder& holder, base::MonoTime now);
  // Once a turn. `in_flight`: messages on their way to the log, whose end will free memory.
  void relieve(base::MonoTime now, std::size_t in_flight);

  std::uint64_t heap_bytes() const { return heap_bytes_; }
  std::size_t clients() const { return accounts_.size(); }
  std::size_t receiving() const { return receiving_.size(); }
  std::size_t paused() const { return paused_; }
  // Looks at every holder.
  void invariants() const;

 private:
  using Receiving = base::IntrusiveList<MemoryHolder, &MemoryHolder::receiving_hook_>;

  std::int64_t available() const;
  std::int64_t low_bytes() const;
  bool stale(MemoryHolder& holder, base::MonoTime now);
  void choose_favoured(base::MonoTime now);
  bool idle_too_much() const;
  bool must_evict(base::MonoTime now, std::size_t in_flight);
  void evict();
  void evict(MemoryHolder& holder);
  void check_choice(const MemoryHolder& holder);
  MemoryHolder* largest_of(MemoryAccount& account) const;
  std::uint64_t evictable(const MemoryAccount& account) const;
  void resume_paused();
  void end_pause(MemoryHolder& holder);

  const uring::BufferPool& buffers_;
  const std::uint32_t buffers_low_;
  const base::Limits& limits_;
  obs::CounterSet& counters_;
  mutable std::unordered_map<base::IpAddress, MemoryAccount, base::IpAddressHash> accounts_;
  mutable Receiving receiving_;  // the oldest message first
  MemoryHolder* favoured_ = nullptr;
  std::uint64_t heap_bytes_ = 0;
  std::uint64_t idle_bytes_ = 0;   // held by those without a message
  std::uint64_t going_bytes_ = 0;  // held by those cut off
  std::size_t paused_ = 0;
  struct Candidate {
    std::uint64_t bytes;
    MemoryAccount* account;
    bool operator<(const Candidate& other) const { return bytes < other.bytes; }
  };
  std::vector<Candidate> candidates_;
};

}  // namespace mxring::server
