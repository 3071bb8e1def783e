// What SPF said a moment ago. Bulk senders send many messages from one address with one domain, and
// their outcome is the same each time, unless the record looks at more of the sender than that
// (Evaluator::repeatable()).
//
// Bounded: a fixed number of outcomes, the latest of each slot, and for five seconds only, so that
// an answer is believed at most so much longer than its TTL. Pure: time is an argument. Thread: its
// shard's.
#pragma once

#include <vector>

#include "base/clock.h"
#include "base/ip_address.h"
#include "mailauth/spf/evaluator.h"

namespace mxring::mailauth::spf {

class OutcomeCache {
 public:
  static constexpr std::int64_t kLifetimeNs = 5 * base::kNsPerSecond;

  OutcomeCache();

  // For an evaluator that has begun. nullptr: not known; else valid until the next put().
  const Outcome* find(const Evaluator& begun, base::MonoTime now) const;
  // Keeps the outcome of one that is done, if it may be repeated.
  void put(const Evaluator& done, base::MonoTime now);

 private:
  struct Slot {
    base::MonoTime expires{-1};
    base::IpAddress client;
    Outcome outcome;
  };
  std::size_t slot_of(const Evaluator& evaluator) const;

  base::KeyedHash hash_;
  base::IpAddressHash by_address_;
  std::vector<Slot> slots_;
};

}  // namespace mxring::mailauth::spf
