// The dialogue: received chunks into the session, its events into messages and replies.
#include "server/conversation.h"

#include <fmt/compile.h>
#include <fmt/format.h>

#include "base/assert.h"
#include "base/probe.h"
#include "smtp/reply.h"

namespace mxring::server {

namespace {

namespace replies = smtp::replies;

using Phase = Conversation::Phase;

constexpr bool may_follow(Phase from, Phase to) {
  switch (from) {
    case Phase::kTalking:
      return to == Phase::kHandshake || to == Phase::kLastWords || to == Phase::kShut;
    case Phase::kHandshake:
      return to == Phase::kTalking || to == Phase::kLastWords || to == Phase::kShut;
    case Phase::kLastWords:
      return to == Phase::kLingering || to == Phase::kShut;
    case Phase::kLingering:
      return to == Phase::kShut;
    case Phase::kShut:
      return false;
  }
  return false;
}

// The answer to a message whose commit was decided; `text` holds its words.
smtp::Reply decided(const Message& message, std::array<char, 32>& text) {
  switch (message.outcome) {
    case CommitOutcome::kDurable: {
      if (message.is_refused()) return message.refusal();
      const auto end = fmt::format_to(text.data(), FMT_COMPILE("Ok {}"), message.offset);
      return smtp::Reply(replies::kAccepted)
          .with({text.data(), static_cast<std::size_t>(end - text.data())});
    }
    case CommitOutcome::kNoSpace:
      MXRING_PROBE("reply: 452, the log has no room");
      return replies::kStorageLow;
    case CommitOutcome::kNoResources:
      MXRING_PROBE("reply: 451, the log lacks resources");
      break;
    case CommitOutcome::kPending:
    case CommitOutcome::kFailed:
      MXRING_PROBE("reply: 451, the log has failed");
      break;
  }
  return replies::kStorageError;
}

}  // namespace

Conversation::Conversation(TurnContext& context, net::Connection::Context& connection, int fd,
                           const base::Endpoint& peer, const base::SlotRef& self)
    : context_(context),
      rules_(context.rules),
      connection_(connection, fd, self.slot, self.generation),
      session_(rules_->session),
      peer_(peer),
      ref_(self),
      session_id_(context.next_session()) {
  timer_.conversation = this;
  MXRING_ASSERT(rules_ != nullptr);
  facts_.address = peer.address;
  facts_.ip = peer.address.to_string();
  facts_.port = peer.port;
  facts_.is_v6 = !peer.address.is_v4();
  context_.memory.enter(*this, peer.address);
}

Conversation::~Conversation() {
  trace_end();
  give_up();
  if (name_ != nullptr) context_.checks->drop_name(*name_);
  drop_lists();
  if (dirty_hook.linked()) context_.dirty.remove(*this);
  if (starved_hook.linked()) context_.starved.remove(*this);
  if (handshake_hook.linked()) context_.handshakes.remove(*this);
  context_.timers.cancel(timer_);
  context_.memory.leave(*this);
}

void Conversation::begin(const Arrival& arrival) {
  place_ = arrival.place;
  if (base::find_network(rules_->config.listen.xclient, peer_.address) != nullptr) {
    session_.allow_xclient();
  }
  if (arrival.sends_header) {
    await_header(arrival.implicit_tls);
  } else {
    welcome(arrival.implicit_tls, arrival.spoke_early);
  }
  connection_.resume_receiving();
  set_timer();
  mark();
}

void Conversation::enter(Phase next) {
  MXRING_ASSERT(may_follow(phase_, next));
  phase_ = next;
  if (next != Phase::kHandshake && handshake_hook.linked()) context_.handshakes.remove(*this);
  if (next == Phase::kTalking) return;
  // Nothing is parsed any more, so nothing holds it up; and no message is under way.
  hold_ = Hold::kNone;
  header_.reset();
  MXRING_ASSERT(message_ == nullptr && check_ == nullptr);
}

void Conversation::hold(Hold why) {
  MXRING_ASSERT(phase_ == Phase::kTalking && why != Hold::kNone);
  MXRING_ASSERT(hold_ == Hold::kNone || (hold_ == Hold::kVerdict && why == Hold::kCommit));
  hold_ = why;
}

void Conversation::release(Hold why) {
  MXRING_ASSERT(hold_ == why);
  hold_ = Hold::kNone;
  MXRING_ASSERT(phase_ == Phase::kTalking);
  parse_due_ = true;
  mark();
}

void Conversation::pause(Pause why) {
  pauses_.add(why);
  connection_.pause_receiving();
}

void Conversation::mark() {
  if (!dirty_hook.linked()) context_.dirty.push_back(*this);
}

bool Conversation::is_short() const {
  return context_.memory.is_short() || context_.delivery.is_full();
}

void Conversation::greet(bool spoke_early) {
  smtp::ReplyBuffer out(connection_.output(), this);
  // A client that already spoke did not wait for the banner (RFC 5321 3.1).
  if (spoke_early) {
    MXRING_PROBE("greeting: the client spoke first");
    session_.refuse_early_talker(out);
    enter(Phase::kLastWords);
  } else {
    session_.greet(out);
  }
  connection_.wrote(out.size());
  greeted_ = true;
}

void Conversation::on_receive(const uring::Completion& completion) {
  const std::uint64_t before = connection_.bytes_received();
  const net::ReceiveOutcome outcome = connection_.on_receive(completion);
  const std::uint64_t received = connection_.bytes_received() - before;
  context_.counters.add(obs::Counter::kBytesReceived, received);
  mark();
  switch (outcome) {
    case net::ReceiveOutcome::kData:
      if (phase_ != Phase::kTalking) {
        connection_.drop_input();
        break;
      }
      pace_.add(received, context_.now.mono, rules_->config.limits);
      parse_due_ = true;
      break;
    case net::ReceiveOutcome::kStarved:
      MXRING_PROBE("receive: no buffer was free");
      starve();
      parse_due_ = true;  // what was decrypted before the buffers ran out
      break;
    case net::ReceiveOutcome::kBroken:
      MXRING_PROBE("receive: the connection is broken");
      parse();  // what came before counts as received
      shut();
      break;
    case net::ReceiveOutcome::kHandshake:
      queue_handshake();
      break;
    case net::ReceiveOutcome::kUntrusted:
      end_untrusted();
      break;
    case net::ReceiveOutcome::kEndOfFile:
    case net::ReceiveOutcome::kStopped:
      break;
  }
}

void Conversation::on_send(const uring::Completion& completion) {
  mark();
  if (!connection_.on_send(completion)) {
    MXRING_PROBE("send: the connection is broken");
    shut();
    return;
  }
  context_.counters.add(obs::Counter::kBytesSent, static_cast<std::uint64_t>(completion.result));
  if (hold_ == Hold::kOutput) release(Hold::kOutput);
}

void Conversation::parse() {
  if (!parse_due_) return;
  parse_due_ = false;
  const obs::InStage stage(context_.stages, obs::Stage::kParse);
  if (hold_ == Hold::kHeader) read_header();
  bool moved = true;
  while (phase_ == Phase::kTalking && hold_ == Hold::kNone && connection_.chunks() > 0) {
    const uring::BufferId buffer = connection_.front().buffer;
    const smtp::Input input{connection_.front_bytes(), connection_.chunks() > 1, true};
    smtp::ReplyBuffer out(connection_.output(), this, context_.tracers != nullptr);
    const bool tiny =
        connection_.sending() && MXRING_BUGGIFY("no room for a reply while others are sent", 100);
    if (out.free() < smtp::kReplyBytesMax || tiny) {
      MXRING_PROBE("parse: no room for a reply");
      hold(Hold::kOutput);  // what fills the block are replies of earlier steps
      break;
    }
    const smtp::Step step = session_.step(input, out);
    const bool go_on = handle(step, out);
    connection_.wrote(out.size());
    if (step.event == smtp::Event::kStartTls) begin_tls();
    if (phase_ != Phase::kTalking) break;
    if (hold_ == Hold::kLists) {
      line_waiting_ = step.consumed;  // the recipient lies in it
      break;
    }
    if (step.consumed == input.bytes.size() && message_ != nullptr) message_->settle(buffer);
    connection_.consume(step.consumed);
    // Of two rounds one takes bytes, or it is the last: a fault is told before its piece is
    // skipped, and of a chunk that ends the last byte is taken after its content.
    MXRING_ASSERT(step.consumed > 0 || moved || hold_ != Hold::kNone);
    moved = step.consumed > 0;
    if (!go_on) break;
    if (MXRING_BUGGIFY("a turn takes one step", 30)) {
      parse_due_ = true;
      mark();
      break;
    }
  }
  if (phase_ == Phase::kTalking && connection_.chunks() >= kChunksMax &&
      connection_.receive_armed()) {
    MXRING_PROBE("parse: too much waits, reading pauses");
    pause(Pause::kChunks);
  }
  if (message_ != nullptr && session_.receiving() && context_.memory.is_short()) {
    context_.memory.pause(*this, context_.now.mono);
  }
}

bool Conversation::handle(const smtp::Step& step, smtp::ReplyBuffer& out) {
  switch (step.event) {
    case smtp::Event::kNeedInput:
      return true;
    case smtp::Event::kReset:
      give_up();
      return true;
    case smtp::Event::kOutputFull:
      MXRING_PROBE("parse: the reply fills the output");
      hold(Hold::kOutput);
      return false;
    case smtp::Event::kSlowDown:
      MXRING_PROBE("parse: errors slow a client down");
      hold(Hold::kSlowed);
      return false;
    case smtp::Event::kMail:
      on_mail(out);
      return phase_ == Phase::kTalking;
    case smtp::Event::kRecipient:
      return on_recipient(out);
    case smtp::Event::kData:
      on_data(out);
      return true;
    case smtp::Event::kStartTls:
      session_.accept(out);
      return false;  // parse() begins with TLS once the reply is written
    case smtp::Event::kXclient:
      return on_xclient(out);
    case smtp::Event::kContent:
      on_content(step.run);
      return true;
    case smtp::Event::kDiscard:
      MXRING_PROBE("parse: content is discarded");
      give_up();
      return true;
    case smtp::Event::kMessage:
      on_message(out);
      return hold_ == Hold::kNone;
    case smtp::Event::kRefused:
      give_up();
      context_.counters.add(obs::Counter::kMessagesRefused);
      return true;
    case smtp::Event::kWaiting:
      MXRING_ASSERT(is_waiting());
      return false;
    case smtp::Event::kClose:
      give_up();
      enter(Phase::kLastWords);
      return false;
  }
  return false;
}

void Conversation::on_mail(smtp::ReplyBuffer& out) {
  if (context_.draining) {
    session_.terminate(replies::kDraining, out);
    enter(Phase::kLastWords);
  } else if (context_.storage_low) {
    MXRING_PROBE("MAIL: 452, the disk is low");
    session_.refuse(replies::kStorageLow, out);
  } else if (is_short()) {
    MXRING_PROBE("MAIL: 452, memory is short");
    session_.refuse(replies::kMemoryLow, out);
  } else if (!in_time(RateKind::kMessages, rules_->config.limits.messages_per_minute)) {
    MXRING_PROBE("MAIL: 450, too many a minute");
    session_.refuse(replies::kTooManyPerMinute, out);
  } else {
    session_.accept(out);
    if (context_.checks == nullptr) return;
    MXRING_ASSERT(check_ == nullptr);
    check_ = &context_.checks->begin(*this,
                                     {.client = facts_.address,
                                      .mail_from = session_.envelope().reverse_path(),
                                      .helo = session_.helo(),
                                      .receiver = rules_->config.hostname,
                                      .now_unix_s = context_.now.wall.us / 1'000'000},
                                     context_.now, /*claimed=*/!facts_.via.empty());
  }
}

bool Conversation::in_time(RateKind kind, std::uint32_t limit) {
  return context_.rates.take(kind, facts_.address, limit, context_.now.mono);
}

void Conversation::on_data(smtp::ReplyBuffer& out) {
  if (is_short()) {
    MXRING_PROBE("DATA: 452, memory is short");
    session_.refuse(replies::kMemoryLow, out);
    return;
  }
  session_.accept(out);
  if (!session_.receiving()) {
    MXRING_PROBE("DATA: the client had not waited for 354");
    return;
  }
  MXRING_ASSERT(message_ == nullptr);
  message_ = context_.delivery.begin(ref_);
  MXRING_ASSERT(message_ != nullptr && !paused_for_memory());
  context_.memory.message_begins(*this, context_.now.mono);
  pace_.begin(context_.now.mono);
}

void Conversation::on_content(std::string_view run) {
  if (message_ == nullptr) return;  // given up: the rest is discarded
  message_->append(run, connection_.front().buffer);
  if (check_ != nullptr) context_.checks->touch(*check_);
  if (const auto refusal = over_limit(message_->header().status())) {
    MXRING_PROBE("content: a limit on the header section");
    give_up();
    session_.discard(refusal->id());
  }
}

// Whoever gives a message up, and why ever: its check goes with it, and with that the hashes, the
// questions under way and their time limit. A check that outlived its message would wait for bytes
// that never come.
void Conversation::give_up() {
  if (check_ != nullptr) context_.checks->drop(*check_);
  check_ = nullptr;
  if (message_ == nullptr) return;
  MXRING_PROBE("a message is given up");
  MXRING_ASSERT(hold_ != Hold::kCommit);  // the writer has it then
  context_.delivery.abandon(message_);
  message_ = nullptr;
  context_.memory.message_ends(*this);
}

void Conversation::on_message(smtp::ReplyBuffer& out) {
  MXRING_ASSERT(message_ != nullptr);
  trace_message();
  message_->header().finish();
  const mail::HeaderIndex& header = message_->header();
  const mail::Field* from = header.first(mail::FieldName::kFrom);
  PolicyScratch& scratch = context_.policy_scratch;
  const std::string_view from_value =
      from == nullptr ? std::string_view()
                      : message_->bytes_between(from->value, from->end, scratch.from);
  auto refusal = Policy::binary_header(header, session_.data());
  if (!refusal) {
    refusal = rules_->policy.header(
        header, from_value, session_.envelope().reverse_path().empty() || session_.insists(),
        scratch);
  }
  if (refusal) {
    MXRING_PROBE("end of data: refused for its header section");
    give_up();
    session_.finish(*refusal, out);
    context_.counters.add(obs::Counter::kMessagesRefused);
    return;
  }
  if (check_ != nullptr) {
    hold(Hold::kVerdict);  // on_verdict() goes on, at the end of this turn at the earliest
    context_.checks->touch(*check_);
    return;
  }
  if (!deliver(mailauth::Disposition::kAccept)) {
    session_.finish(replies::kMemoryLow, out);
    context_.counters.add(obs::Counter::kMessagesRefused);
  }
}

void Conversation::on_verdict() {
  MXRING_ASSERT(hold_ == Hold::kVerdict && check_ != nullptr && check_->decided());
  const Config::Auth& auth = rules_->config.auth;
  count_results(context_.counters, check_->evaluation(), auth);
  if (const auto* spf = check_->evaluation().spf()) judged_.spf = mailauth::word(spf->result);
  if (const auto* dmarc = check_->evaluation().dmarc())
    judged_.dmarc = mailauth::word(dmarc->result);
  // A journal keeps what fails, marked.
  using mailauth::Disposition;
  const bool kept = session_.insists() && auth.on_dmarc_reject == Disposition::kReject;
  const Disposition disposition =
      mailauth::decide(check_->evaluation().dmarc(),
                       {.on_reject = kept ? Disposition::kQuarantine : auth.on_dmarc_reject,
                        .on_quarantine = auth.on_dmarc_quarantine,
                        .on_temperror = auth.on_dmarc_temperror});
  trace_verdict(disposition);
  mark();
  if (deliver(disposition)) return;
  context_.counters.add(obs::Counter::kMessagesRefused);
  finish(replies::kMemoryLow);
}

// False: there are too many on their way to the log, and this one has been given up.
bool Conversation::deliver(mailauth::Disposition disposition) {
  const obs::InStage stage(context_.stages, obs::Stage::kCommit);
  if (context_.delivery.is_full()) {
    MXRING_PROBE("end of data: too many messages on their way");
    give_up();
    return false;
  }
  Verdicts verdicts;
  verdicts.disposition = disposition;
  verdicts.client_name = client_name();
  if (check_ != nullptr) verdicts.evaluation = &check_->evaluation();
  if (disposition == mailauth::Disposition::kQuarantine) {
    context_.counters.add(obs::Counter::kMessagesQuarantined);
  }
  context_.delivery.submit(message_, session_, facts_, verdicts, context_.now);
  message_ = nullptr;  // lent to the writer
  context_.memory.message_ends(*this);
  give_up();  // the check
  hold(Hold::kCommit);
  return true;
}

// The answer to a message that was waited for. It fits: kReplyBytesMax were free before DATA, and
// only 354 was written since.
void Conversation::finish(const smtp::Reply& reply) {
  smtp::ReplyBuffer out(connection_.output(), this);
  session_.finish(reply, out);
  connection_.wrote(out.size());
  release(hold_);
}

// The connection may be on its way out: its message is kept all the same, only the reply is lost.
void Conversation::on_decided(const Message& message) {
  if (phase_ != Phase::kTalking) {
    MXRING_PROBE("committed after its client was told to go");
    return;
  }
  MXRING_ASSERT(hold_ == Hold::kCommit);
  std::array<char, 32> text{};
  finish(decided(message, text));
}

HeldBytes Conversation::held() const {
  const std::size_t heap = connection_.heap_held();
  HeldBytes held{.buffers = connection_.bytes_held() - heap,
                 .heap = sizeof *this + heap + session_.memory_bytes()};
  if (message_ != nullptr) {
    held.buffers += message_->buffer_bytes();
    held.heap += message_->heap_bytes();
  }
  if (check_ != nullptr) held.heap += check_->memory_bytes();
  if (header_ != nullptr) held.heap += sizeof *header_ + header_->bytes.capacity();
  return held;
}

std::uint64_t Conversation::message_bytes() const {
  return message_ == nullptr ? 0 : message_->bytes();
}

void Conversation::set_memory_pause(bool on) {
  on ? pause(Pause::kMemory) : pauses_.remove(Pause::kMemory);
  mark();
}

void Conversation::give_up_for_memory() {
  MXRING_ASSERT(message_ != nullptr);
  const bool complete = hold_ == Hold::kVerdict;
  MXRING_PROBE("memory: a message is given up");
  give_up();
  if (complete) {
    MXRING_PROBE("memory: a complete message is given up");
    context_.counters.add(obs::Counter::kMessagesRefused);
    finish(replies::kMemoryLow);
  } else {
    session_.discard(replies::kMemoryLow);
  }
  mark();
}

void Conversation::cut_off_for_memory() {
  no_lingering_ = true;
  MXRING_PROBE("memory: a connection is cut off");
  // Who has not read the replies so far will not read this one.
  if (connection_.has_unsent() || phase_ != Phase::kTalking) {
    return cut_off(phase_ == Phase::kHandshake ? CutOff::kMemoryBeforeTls
                                               : CutOff::kNotReadingMemory);
  }
  say_last_words(replies::kMemoryTaken);
}

void Conversation::invariants() const {
  const bool talking = phase_ == Phase::kTalking;
  MXRING_ASSERT(hold_ == Hold::kNone || talking);
  MXRING_ASSERT((hold_ == Hold::kHeader) == (header_ != nullptr));
  MXRING_ASSERT(hold_ != Hold::kLists || (lists_ != nullptr && lists_->under_way()));
  MXRING_ASSERT(header_ == nullptr || (!greeted_ && !connection_.has_tls()));
  MXRING_ASSERT(is_waiting() == (session_.waiting() && talking));
  MXRING_ASSERT((message_ == nullptr && check_ == nullptr) || talking);
  MXRING_ASSERT(hold_ != Hold::kVerdict || (message_ != nullptr && check_ != nullptr));
  MXRING_ASSERT(hold_ != Hold::kCommit || (message_ == nullptr && check_ == nullptr));
  MXRING_ASSERT(message_ == nullptr || session_.message_open());
  MXRING_ASSERT(check_ == nullptr || session_.in_transaction());
  MXRING_ASSERT(pauses_.has(Pause::kStarved) == starved_hook.linked());
  MXRING_ASSERT(pauses_.has(Pause::kMemory) == paused_for_memory());
  MXRING_ASSERT(!paused_for_memory() || message_ != nullptr);
  MXRING_ASSERT(!handshake_hook.linked() || phase_ == Phase::kHandshake);
  MXRING_ASSERT(phase_ != Phase::kShut || connection_.shutting());
}

}  // namespace mxring::server
