#include "dns/health.h"

#include <algorithm>

#include "base/assert.h"
#include "base/probe.h"
#include "dns/message.h"

namespace mxring::dns {

namespace {

constexpr std::int64_t kSuspectAfterNs = 500 * base::kNsPerMs;  // without a word
constexpr std::int64_t kProbeWaitNs = 1 * base::kNsPerSecond;
constexpr std::int64_t kProbeEveryNs = 2 * base::kNsPerSecond;
// How much later than the plain one the probe with options may be answered.
constexpr std::int64_t kOptionsWaitNs = 400 * base::kNsPerMs;
// So many replies in a row whose question is in another case are the server's own, not forged.
constexpr unsigned kCaseChangesMax = 8;
// REFUSED that many times in a row is all that the server has for us: at once when it has never
// served us, else after a while, because a server may refuse names that it does not know.
constexpr unsigned kRefusalsAtFirst = 2;
constexpr unsigned kRefusalsLater = 20;
static_assert(kRefusalsAtFirst < kRefusalsLater && kProbeWaitNs <= kProbeEveryNs);
constexpr base::MonoTime kNever{std::numeric_limits<std::int64_t>::max()};

}  // namespace

void Health::enter(State state) {
  MXRING_ASSERT(state != state_);
  if (state == State::kSuspect) MXRING_PROBE("dns: the resolver is suspect");
  // It is not taken for working before something was heard, nor for down without a probe.
  MXRING_ASSERT(state != State::kDown || state_ == State::kSuspect);
  state_ = state;
}

bool Health::heard(base::MonoTime now) {
  last_heard_ = now;
  const bool was_down = state_ == State::kDown;
  if (state_ != State::kWorking) enter(State::kWorking);
  return was_down;
}

Health::Action Health::check(base::MonoTime now, std::optional<base::MonoTime> oldest) {
  if (state_ == State::kWorking) {
    if (!oldest || now - *oldest < kSuspectAfterNs) return Action::kNothing;
    // Heard something since then, and not long ago: this one name is slow.
    if (last_heard_ >= *oldest && now - last_heard_ < kSuspectAfterNs) return Action::kNothing;
    enter(State::kSuspect);
    return Action::kProbe;
  }
  if (now < probe_deadline_) return Action::kNothing;
  return state_ == State::kSuspect ? Action::kGoDown : Action::kProbe;
}

bool Health::suspect() {
  if (state_ != State::kWorking) return false;
  enter(State::kSuspect);
  return true;
}

void Health::go_down(base::MonoTime now) {
  enter(State::kDown);
  probe_deadline_ = now + kProbeEveryNs;
}

std::uint64_t Health::begin_round(base::MonoTime now, std::size_t probes) {
  MXRING_ASSERT(state_ != State::kWorking && probes != 0);
  probes_ = probes;
  probe_deadline_ = now + (state_ == State::kDown ? kProbeEveryNs : kProbeWaitNs);
  MXRING_ASSERT(deadline() > now);
  return ++round_;
}

bool Health::probe_returned(std::uint64_t round) {
  if (round == round_ && probes_ != 0) --probes_;
  return probes_ == 0 && state_ == State::kSuspect;
}

base::MonoTime Health::deadline() const {
  return state_ == State::kWorking ? kNever : probe_deadline_;
}

void ServerHealth::replied(bool options, std::uint16_t code, bool again) {
  const bool served = code == 0 || code == 3;
  if (options && served) {
    options_heard_ = true;
    if (options_ == Options::kDoubtful) options_ = Options::kYes;
  }
  if (!options && again && !rejects_options(code)) options_ = Options::kNo;
  if (code == kRefused) {
    if (refusals_ < kRefusalsLater) ++refusals_;
    refusing_ = refusing_ || refusals_ >= (ever_served_ ? kRefusalsLater : kRefusalsAtFirst);
  } else {
    refusals_ = 0;
    refusing_ = false;
    ever_served_ = ever_served_ || served;
  }
}

void ServerHealth::answered_plain_probe(base::MonoTime now) {
  if (options_ != Options::kYes || options_heard_) return;
  options_ = Options::kDoubtful;
  options_deadline_ = now + kOptionsWaitNs;
}

bool ServerHealth::give_up_options(base::MonoTime now) {
  if (options_ != Options::kDoubtful || now < options_deadline_) return false;
  options_ = Options::kNo;
  return true;
}

base::MonoTime ServerHealth::deadline() const {
  return options_ == Options::kDoubtful ? options_deadline_ : kNever;
}

void ServerHealth::forget() {
  options_ = Options::kYes;
}

void ServerHealth::case_changed() {
  MXRING_PROBE("dns: a reply repeats the question in another case");
  if (keeps_case_ && ++case_changes_ >= kCaseChangesMax) keeps_case_ = false;
}

std::optional<bool> ServerHealth::refusal_news() {
  if (told_ == refusing_) return std::nullopt;
  told_ = refusing_;
  return refusing_;
}

}  // namespace mxring::dns
