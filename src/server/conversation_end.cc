// Time, the end of a turn, and the way to a closed connection.
#include <algorithm>

#include "base/assert.h"
#include "base/probe.h"
#include "server/conversation.h"
#include "smtp/reply.h"

namespace mxring::server {

namespace replies = smtp::replies;

namespace {

// What the journal has instead of last words that cannot be said.
CutOff unsaid(smtp::ReplyId id, bool before_tls) {
  switch (id) {
    case replies::kDraining:
      return before_tls ? CutOff::kDrainingBeforeTls : CutOff::kNotReadingDraining;
    case replies::kTooManyConnections:
      return CutOff::kTooManyBeforeTls;
    case replies::kMemoryTaken:
      return before_tls ? CutOff::kMemoryBeforeTls : CutOff::kNotReadingMemory;
    default:
      return CutOff::kNotReadingTimeout;
  }
}

}  // namespace

void Conversation::on_timer() {
  switch (phase_) {
    case Phase::kShut:
      return;
    case Phase::kHandshake:
      context_.counters.add(obs::Counter::kTimeouts);
      MXRING_PROBE("timer: the TLS handshake takes too long");
      trace_tls("timed out");
      return cut_off(CutOff::kTlsTimeout);
    case Phase::kLastWords:
    case Phase::kLingering:
      MXRING_PROBE("timer: the last words are not read");
      return cut_off();
    case Phase::kTalking:
      break;
  }
  if (hold_ == Hold::kHeader) {
    context_.counters.add(obs::Counter::kTimeouts);
    MXRING_PROBE("timer: no PROXY header");
    refuse_balancer("none came in time");
  } else if (hold_ == Hold::kSlowed) {
    release(Hold::kSlowed);  // the end of the turn sets the timer for what comes then
  } else if (hold_ == Hold::kLists) {
    set_timer();  // the answers have a time limit of their own
  } else if (is_waiting() || pauses_.has(Pause::kMemory)) {
    MXRING_PROBE("timer: it is us who are slow");
    pace_.forgive(context_.now.mono);  // it is we who are slow
    set_timer();
  } else if (session_.receiving()) {
    on_rate_tick();
  } else if (timer_ticks_) {
    // Set while data arrived; the data ended in this very turn, and its reply waits to be sent.
    timer_ticks_ = false;
    MXRING_PROBE("timer: set for data that has ended");
    set_timer();
  } else if (!command_overdue()) {
    MXRING_PROBE("timer: a command has time left");
    set_timer();
  } else {
    context_.counters.add(obs::Counter::kTimeouts);
    if (connection_.has_unsent()) {
      MXRING_PROBE("timer: replies are not read");
      cut_off(CutOff::kNotReadingTimeout);  // for all this time
    } else {
      MXRING_PROBE("timer: 421, no command came");
      say_last_words(replies::kCommandTimeout);
    }
  }
}

void Conversation::on_rate_tick() {
  const DataPace::Verdict verdict = pace_.look(context_.now.mono, rules_->config.limits);
  if (verdict == DataPace::Verdict::kFine) return set_timer();
  context_.counters.add(obs::Counter::kTimeouts);
  if (verdict == DataPace::Verdict::kSilent) MXRING_PROBE("timer: 421, silence in a message");
  if (verdict != DataPace::Verdict::kSilent) MXRING_PROBE("timer: 421, data too slow");
  say_last_words(verdict == DataPace::Verdict::kSilent ? replies::kDataTimeout : replies::kTooSlow);
}

// One command line has so long from its first byte; less while there is a shortage, which is looked
// for now and then.
std::int64_t Conversation::command_wait_ns() {
  const base::Limits& limits = rules_->config.limits;
  if (command_began_ns_ == 0 || command_number_ != session_.commands()) {
    command_began_ns_ = context_.now.mono.ns;
    command_number_ = session_.commands();
  }
  const std::int64_t all_ns = std::min(limits.command_wait_ns, limits.command_time_ns);
  const std::int64_t passed_ns = context_.now.mono.ns - command_began_ns_;
  const std::int64_t look_ns =
      (passed_ns / limits.command_time_short_ns + 1) * limits.command_time_short_ns;
  MXRING_ASSERT(passed_ns >= 0);
  return std::max<std::int64_t>(std::min(all_ns, look_ns) - passed_ns, base::kNsPerMs);
}

bool Conversation::command_overdue() const {
  const base::Limits& limits = rules_->config.limits;
  if (!session_.has_partial_line() || command_began_ns_ == 0) return true;
  const std::int64_t passed_ns = context_.now.mono.ns - command_began_ns_;
  if (passed_ns >= std::min(limits.command_wait_ns, limits.command_time_ns)) return true;
  const bool is_short = context_.memory.is_short() || context_.connections_short;
  return is_short && passed_ns >= limits.command_time_short_ns;
}

void Conversation::set_timer() {
  const base::Limits& limits = rules_->config.limits;
  std::int64_t wait_ns = limits.command_wait_ns;
  if (!session_.has_partial_line()) command_began_ns_ = 0;
  if (phase_ == Phase::kHandshake) {
    wait_ns = handshake_deadline_ns_ - context_.now.mono.ns;
  } else if (phase_ != Phase::kTalking) {
    wait_ns = kLingerNs;
  } else if (hold_ == Hold::kHeader) {
    wait_ns = header_->deadline_ns - context_.now.mono.ns;
  } else if (hold_ == Hold::kSlowed) {
    wait_ns = limits.error_delay_ns;
  } else if (session_.receiving()) {
    wait_ns = DataPace::tick_ns(limits);
  } else if (session_.has_partial_line()) {
    wait_ns = command_wait_ns();
  }
  context_.timers.set(timer_, context_.now.mono + wait_ns);
}

bool Conversation::in_handshake() const {
  return phase_ == Phase::kHandshake || (header_ != nullptr && header_->implicit_tls);
}

void Conversation::say_last_words(const smtp::Reply& reply) {
  if (in_handshake()) return cut_off(unsaid(reply.id(), true));
  if (phase_ != Phase::kTalking) return;
  give_up();
  smtp::ReplyBuffer out(connection_.output(), this);
  // A client that does not read its replies will not read this one either.
  if (out.free() >= smtp::kReplyBytesMax) {
    session_.terminate(reply, out);
    connection_.wrote(out.size());
  } else {
    MXRING_PROBE("last words: no room for them");
    journal_cut_off(unsaid(reply.id(), false));
  }
  enter(Phase::kLastWords);
  connection_.drop_input();
  set_timer();
  mark();
}

// Who is in its last words already has been told why, or is told no more.
void Conversation::cut_off(CutOff why) {
  if (phase_ == Phase::kTalking || phase_ == Phase::kHandshake) journal_cut_off(why);
  cut_off();
}

void Conversation::cut_off() {
  shut();
  mark();
}

void Conversation::shut() {
  if (phase_ == Phase::kShut) return;
  if (hold_ == Hold::kVerdict) MXRING_PROBE("gone while its verdict was awaited");
  if (hold_ == Hold::kCommit) MXRING_PROBE("gone while its message was committed");
  if (hold_ == Hold::kSlowed) MXRING_PROBE("gone while slowed");
  if (session_.receiving()) MXRING_PROBE("gone in the middle of a message");
  give_up();
  enter(Phase::kShut);
  MXRING_ASSERT(message_ == nullptr && check_ == nullptr);
  connection_.shut();
}

// Everything that waits until all that the turn brought is handled: one send for all replies, and
// the decision whether to go on, wait or close. True: closed, to be freed.
bool Conversation::end_of_turn() {
  parse();
  count();
  if (phase_ == Phase::kLastWords) connection_.end_tls();
  if (phase_ != Phase::kShut) connection_.flush();
  const bool over = close_if_done();
  if (!over) context_.memory.recount(*this);
  return over;
}

bool Conversation::close_if_done() {
  bool done = false;
  switch (phase_) {
    case Phase::kHandshake:
      done = connection_.end_of_file();
      if (done) break;
      if (connection_.handshake_full()) {
        pause(Pause::kHandshake);
      } else {
        pauses_.remove(Pause::kHandshake);
        if (pauses_.empty()) connection_.resume_receiving();
      }
      break;
    case Phase::kTalking:
      done = !go_on();
      break;
    case Phase::kLastWords:
      done = end_last_words();
      break;
    case Phase::kLingering:
      connection_.drop_input();
      done = connection_.end_of_file();
      if (!done && !pauses_.has(Pause::kStarved)) connection_.resume_receiving();
      break;
    case Phase::kShut:
      break;
  }
  if (done) shut();
  return phase_ == Phase::kShut && connection_.try_close();
}

// False: the peer has sent its last and has everything.
bool Conversation::go_on() {
  if (connection_.chunks() == 0) pauses_.remove(Pause::kChunks);
  const bool idle = connection_.chunks() == 0 && (hold_ == Hold::kNone || hold_ == Hold::kHeader);
  if (idle && connection_.end_of_file() && !connection_.has_unsent()) {
    // A balancer that only looks whether the port is open sends nothing at all.
    if (header_ == nullptr || header_->bytes.empty()) return false;
    refuse_balancer("it ends in the middle");
    MXRING_PROBE("PROXY header: it ends in the middle");
    return true;
  }
  if (idle && context_.draining && !session_.in_transaction() && !may_end_handshake()) {
    MXRING_PROBE("drain: an idle client is told to go");
    say_last_words(replies::kDraining);
    return true;
  }
  if (pauses_.empty()) connection_.resume_receiving();
  if (session_.swallowing() && swallowed_ != session_.commands()) {
    swallowed_ = session_.commands();
    pace_.begin(context_.now.mono);
  }
  // While data arrives the timer ticks through the rate window on its own.
  const bool ticks = session_.receiving() || hold_ == Hold::kSlowed;
  if (!ticks || !timer_.armed() || !timer_ticks_) set_timer();
  timer_ticks_ = ticks;
  return true;
}

// True: nothing is left to say, and the peer has it or is not waited for.
bool Conversation::end_last_words() {
  connection_.drop_input();
  if (connection_.has_unsent()) return false;
  if (connection_.end_of_file() || session_.said_goodbye() || no_lingering_) return true;
  MXRING_PROBE("last words: the peer may read them before we close");
  // Closing with unread bytes in the kernel would send a reset that may overtake the reply.
  connection_.finish_sending();
  ++context_.direct_system_calls;
  enter(Phase::kLingering);
  if (!pauses_.has(Pause::kStarved)) connection_.resume_receiving();
  set_timer();
  return false;
}

void Conversation::count() {
  obs::CounterSet& counters = context_.counters;
  const std::uint64_t commands = session_.commands();
  MXRING_ASSERT(commands >= counted_commands_);
  counters.add(obs::Counter::kCommands, commands - counted_commands_);
  counted_commands_ = commands;
  const std::uint64_t copied = session_.line_bytes_copied();
  if (copied != counted_copies_) {
    MXRING_ASSERT(copied > counted_copies_);
    counters.add(obs::Counter::kBytesCopiedLine, copied - counted_copies_);
    counted_copies_ = copied;
  }
  if (connection_.has_tls()) {
    const std::uint64_t decrypted = connection_.tls().bytes_copied();
    counters.add(obs::Counter::kBytesCopiedTls, decrypted - counted_tls_copies_);
    counted_tls_copies_ = decrypted;
  }
}

}  // namespace mxring::server
