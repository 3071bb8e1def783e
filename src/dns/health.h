// What the client knows of its resolvers, from what it hears of them and when. Pure: time is an
// argument, and what follows is a word to the client.
//
// Health: whether anything answers at all. A question that has waited for half a second while
// nothing was heard makes it suspect, and probes decide within another second; while it is down,
// probes every two seconds find out when it is back.
//
// ServerHealth, of one server: whether it takes EDNS option records (RFC 6891 7: FORMERR, NOTIMP or
// BADVERS says no, and so does silence where the same question without one is answered), whether it
// keeps the case of a question, and whether it refuses us.
//
// Thread: the client's.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>

#include "base/clock.h"
#include "base/ip_address.h"

namespace mxring::dns {

class Health {
 public:
  enum class State : std::uint8_t { kWorking, kSuspect, kDown };
  enum class Action : std::uint8_t { kNothing, kProbe, kGoDown };

  State state() const { return state_; }
  base::MonoTime last_heard() const { return last_heard_; }
  bool heard_anything() const { return last_heard_.ns >= 0; }

  // Anything at all came from a server. True: it had been down.
  bool heard(base::MonoTime now);
  // `oldest`: when the oldest question under way was asked.
  Action check(base::MonoTime now, std::optional<base::MonoTime> oldest);
  // To be probed now, if it was thought to work.
  bool suspect();
  void go_down(base::MonoTime now);

  // The round of probes that is sent now, its number; a probe of an older round says nothing.
  std::uint64_t begin_round(base::MonoTime now, std::size_t probes);
  // A probe has come back, answered or not. True: none of the latest round is left, and no server
  // was heard, so there is nothing to wait for.
  bool probe_returned(std::uint64_t round);
  bool probing() const { return probes_ != 0; }

  // When check() has something to do although nothing happens; the largest time: never.
  base::MonoTime deadline() const;

 private:
  void enter(State state);

  State state_ = State::kWorking;
  base::MonoTime last_heard_{-1};
  base::MonoTime probe_deadline_;  // kSuspect: then it is down; kDown: then probe again
  std::size_t probes_ = 0;         // of the latest round, not returned yet
  std::uint64_t round_ = 0;
};

class ServerHealth {
 public:
  explicit ServerHealth(const base::Endpoint& endpoint) : endpoint_(endpoint) {}

  const base::Endpoint& endpoint() const { return endpoint_; }
  bool takes_options() const { return options_ != Options::kNo; }
  bool keeps_case() const { return keeps_case_; }
  bool refusing() const { return refusing_; }

  // A reply to a query with an option record or without; `code` as in Reply. `again`: it was asked
  // without one because the one with it was rejected.
  void replied(bool options, std::uint16_t code, bool again);
  // A probe is sent in both forms, and they are compared: without options it was answered.
  void begin_probe() { options_heard_ = false; }
  void answered_plain_probe(base::MonoTime now);
  // True: what waits for an answer to a query with options is to be asked again without.
  bool give_up_options(base::MonoTime now);
  base::MonoTime deadline() const;
  void forget();  // it was down; it may be another one now

  // Whether the replies repeat the question's letters. False for one that has always changed them.
  void case_kept() { case_changes_ = 0; }
  void case_changed();
  void never_keeps_case() { keeps_case_ = false; }

  // After replied(): whether it has begun or ceased to refuse everything, told once.
  std::optional<bool> refusal_news();

 private:
  // kDoubtful: from the plain probe's answer until the other's, or its deadline.
  enum class Options : std::uint8_t { kYes, kDoubtful, kNo };

  base::Endpoint endpoint_;
  Options options_ = Options::kYes;
  base::MonoTime options_deadline_;
  bool options_heard_ = false;  // served with options since the probe began
  bool keeps_case_ = true;
  unsigned case_changes_ = 0;  // replies in a row
  bool ever_served_ = false;
  bool refusing_ = false;
  bool told_ = false;
  unsigned refusals_ = 0;  // in a row
};

}  // namespace mxring::dns
