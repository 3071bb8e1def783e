// Lines, order of commands, message content and the error limits. What a command does is in
// handlers_*.cc.
#include "smtp/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/assert.h"
#include "base/probe.h"
#include "base/text.h"
#include "smtp/command.h"
#include "smtp/command_table.h"
#include "smtp/reply.h"

namespace mxring::smtp {

// 20,000 idle connections are meant to be affordable.
static_assert(sizeof(Session) <= 512);

namespace {

// What an idle session may keep of its line memory; with Envelope::kKeep* and a HELO name it stays
// near 1 KiB.
constexpr std::size_t kKeepLineBytes = 128;

// Octets come after this line, or would if it could be read.
bool announces_payload(std::string_view line) {
  const std::string_view start = line.substr(0, line.find_first_of(" \t\r\n"));
  return (find_command(start).flags & kHasPayload) != 0;
}

bool has_control_byte(std::string_view line) {
  bool found = false;
  for (const char c : line) found |= static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  return found;
}

}  // namespace

ReplyId reply_for(DataFault fault) {
  switch (fault) {
    case DataFault::kBareCr:
      return replies::kBareCr;
    case DataFault::kBareLf:
      return replies::kBareLf;
    case DataFault::kNul:
      return replies::kNul;
    case DataFault::kLineTooLong:
    case DataFault::kNone:
      break;
  }
  return replies::kMessageLineTooLong;
}

State Session::state() const {
  if (message_open()) return State::kChunks;
  if (in_transaction()) {
    return envelope_.recipients() == 0 ? State::kSender : State::kRecipients;
  }
  return helo_.empty() && !options_.leniency.hello_optional ? State::kConnected : State::kGreeted;
}

Session::Session(const SessionOptions& options)
    : options_(options),
      scanner_(options.limits.message_line_flag_bytes, options.limits.message_line_bytes) {
  MXRING_ASSERT(options.hostname.size() <= kDomainBytesMax);  // it has to fit the EHLO reply
}

void Session::greet(ReplyBuffer& out) {
  char text[kDomainBytesMax + 16];
  const auto end = fmt::format_to_n(text, sizeof text, "{} ESMTP mxring", options_.hostname);
  out.say(Reply(replies::kBanner).with({text, end.size}), Stage::kConnect);
}

void Session::allow_xclient() {
  xclient_ = std::make_unique<Xclient>();
}

void Session::refuse_early_talker(ReplyBuffer& out) {
  close(replies::kEarlyTalker, out);
}

Step Session::step(const Input& input, ReplyBuffer& out) {
  MXRING_ASSERT(phase_ != Phase::kAnswer);
  if (phase_ == Phase::kWaiting) return {Event::kWaiting, 0, {}};
  if (closed()) return {Event::kClose, 0, {}};
  std::string_view rest = input.bytes;
  std::string_view run;
  Outcome outcome;
  while (!rest.empty() && !outcome.stop) {
    if (out.free() < kReplyBytesMax) {
      MXRING_ASSERT(out.size() > 0);  // an empty buffer this small would never let us go on
      outcome = {true, Event::kOutputFull};
      break;
    }
    switch (phase_) {
      case Phase::kContent:
        outcome = take_content(rest, input.rewritable, run, out);
        break;
      case Phase::kChunk:
        outcome = take_chunk(rest, run, out);
        break;
      default:
        outcome = take_command(rest, input.more_behind, out);
        break;
    }
  }
  std::size_t consumed = input.bytes.size() - rest.size();
  if (outcome.hold) {
    MXRING_ASSERT(consumed > 0 && !chunk_.held);
    --consumed;
    chunk_.held = true;
  }
  return {outcome.event, consumed, run};
}

Session::Outcome Session::take_command(std::string_view& rest, bool more, ReplyBuffer& out) {
  MXRING_ASSERT(phase_ == Phase::kCommand);
  std::string_view line;
  if (!take_line(rest, line)) return {};
  return end_line(line, Input{rest, more}, out);
}

bool Session::take_line(std::string_view& rest, std::string_view& line) {
  const auto* lf = static_cast<const char*>(std::memchr(rest.data(), '\n', rest.size()));
  const bool whole = lf != nullptr;
  const std::string_view piece =
      whole ? rest.substr(0, static_cast<std::size_t>(lf - rest.data()) + 1) : rest;
  rest.remove_prefix(piece.size());
  const std::size_t keep_max =
      options_.limits.command_line_bytes + options_.limits.command_line_extra_bytes;
  const std::size_t before = line_bytes_;
  const std::size_t total = std::min<std::size_t>(before + piece.size(), UINT32_MAX);
  line_bytes_ = static_cast<std::uint32_t>(total);
  if (whole && before == 0) {
    line = piece;
    return true;
  }
  if (before == 0) {
    partial_line_.clear();
    payload_line_ = false;
  }
  if (total > keep_max) {
    MXRING_PROBE("line: too long to be kept");
    if (before <= keep_max) look_at_start(piece);
    // Never parsed: only its length and its end matter. The end may be cut between CR and LF.
    after_cr_ = piece.size() >= 2       ? piece[piece.size() - 2] == '\r'
                : partial_line_.empty() ? after_cr_
                                        : partial_line_.back() == '\r';
    partial_line_.clear();
    if (!whole) after_cr_ = piece.back() == '\r';
    if (!whole && total > options_.limits.command_line_close_bytes) return true;
    return whole;
  }
  partial_line_.append(piece);
  line_bytes_copied_ += piece.size();
  line = partial_line_;
  return whole;
}

// Of a line that is about to be forgotten: its name, however it was cut.
void Session::look_at_start(std::string_view piece) {
  char start[16];
  const std::size_t known = std::min(partial_line_.size(), sizeof start);
  std::memcpy(start, partial_line_.data(), known);
  const std::size_t more = std::min(piece.size(), sizeof start - known);
  std::memcpy(start + known, piece.data(), more);
  payload_line_ = announces_payload({start, known + more});
}

bool Session::line_ends_in_crlf(std::string_view line) const {
  return line.empty() ? after_cr_ : line.ends_with("\r\n");
}

void Session::forget_line() {
  line_bytes_ = 0;
  after_cr_ = false;
}

void Session::trim_line() {
  if (partial_line_.capacity() > kKeepLineBytes) std::string().swap(partial_line_);
}

// What cannot be read may have been a BDAT: then what follows it must not be read either.
Session::Outcome Session::bad_line(ReplyId reply, std::string_view line, ReplyBuffer& out) {
  const bool payload = line.empty() ? payload_line_ : announces_payload(line);
  if (payload) {
    MXRING_PROBE("line: it may have been a BDAT, closed");
    return close(reply, out);
  }
  return error(reply, out);
}

Session::Outcome Session::end_line(std::string_view line, const Input& behind, ReplyBuffer& out) {
  const std::size_t bytes = line_bytes_;
  const bool crlf = line_ends_in_crlf(line);
  forget_line();
  ++commands_;
  stage_ = Stage::kCommand;
  out.hear(line);
  if (bytes > options_.limits.command_line_close_bytes) {
    MXRING_PROBE("line: too long by far, closed");
    return close(replies::kLineTooLong, out);
  }
  if (!crlf || tainted_) {
    tainted_ = !crlf;
    MXRING_PROBE("line: no CRLF at its end");
    return bad_line(replies::kLineNotCrlf, line, out);
  }
  const bool longer = (find_command(line).flags & kTakesParameters) != 0;
  const std::size_t bytes_max =
      options_.limits.command_line_bytes + (longer ? options_.limits.command_line_extra_bytes : 0);
  if (line.empty() || bytes > bytes_max) return bad_line(replies::kLineTooLong, line, out);
  line.remove_suffix(2);
  line = with_tabs_as_spaces(line);
  if (has_control_byte(line)) {
    MXRING_PROBE("line: a control byte");
    return bad_line(replies::kControlByte, line, out);
  }
  const Outcome outcome = run_command(line, behind, out);
  if (phase_ != Phase::kAnswer) trim_line();  // the answer may look at the line
  return outcome;
}

// A tab is a space to people and to most servers; within quotes it would be another address.
std::string_view Session::with_tabs_as_spaces(std::string_view line) {
  if (!options_.leniency.spaces_in_paths || !line.contains('\t') || line.contains('"')) return line;
  if (line.data() != partial_line_.data()) {
    partial_line_ = line;
    line_bytes_copied_ += line.size();
  }
  std::ranges::replace(partial_line_, '\t', ' ');
  return std::string_view(partial_line_).substr(0, line.size());
}

Session::Outcome Session::run_command(std::string_view line, const Input& behind,
                                      ReplyBuffer& out) {
  const CommandLine command = parse_command(line);
  if (line.find_first_not_of(' ') == std::string_view::npos) return error(replies::kEmptyLine, out);
  const CommandRow& row = command.row;
  stage_ = row.stage;
  // It has its own order: octets come after it in any state.
  if ((row.flags & kHasPayload) != 0) {
    return row.handler(*this, Handlers::Call{command.arguments, behind, out});
  }
  if ((row.flags & kNoMail) != 0 &&
      ++commands_without_mail_ > options_.limits.commands_without_mail) {
    MXRING_PROBE("command: 421, too many without mail");
    return close(replies::kTooManyCommands, out);
  }
  const bool has_argument = !command.arguments.empty();
  if ((row.flags & kArgumentForbidden) != 0 && has_argument) {
    MXRING_PROBE("command: no argument is allowed");
    return error(replies::kNoArguments, out);
  }
  // Whoever sends on behind DATA does not wait for its reply, and what follows may be a message:
  // read as commands it could be anything.
  if ((row.flags & kNothingBehind) != 0 && (!behind.bytes.empty() || behind.more_behind)) {
    MXRING_PROBE("DATA: 554, content came before 354");
    return close(replies::kEarlyData, out);
  }
  const State state = this->state();
  if ((row.states & in(state)) == 0) {
    MXRING_PROBE("command: out of order");
    const ReplyId reply = out_of_order(row, state);
    if (follows_a_refusal(reply) || reply == replies::kNoValidRecipients) return answer(reply, out);
    return error(reply, out);
  }
  if ((row.flags & kArgumentRequired) != 0 && !has_argument) {
    return error(replies::kNeedArgument, out);
  }
  return row.handler(*this, Handlers::Call{command.arguments, behind, out});
}

// A pipelining client could not know; it must not be cut off for the rest of its group.
bool Session::follows_a_refusal(ReplyId reply) const {
  return mail_refused_ && reply == replies::kNeedMail;
}

Session::Outcome Session::take_content(std::string_view& rest, bool rewritable,
                                       std::string_view& run, ReplyBuffer& out) {
  MXRING_ASSERT(intake_ != Intake::kNone);
  const DataScanner::Output found = scanner_.next(rest, rewritable);
  rest.remove_prefix(found.consumed);
  if (found.kind == DataScanner::Output::Kind::kEndOfData) {
    MXRING_ASSERT(messages_ < options_.limits.messages_per_connection);
    ++messages_;
    if (intake_ == Intake::kKept) {
      phase_ = Phase::kWaiting;
      return {true, Event::kMessage};
    }
    out.say(as_meant(content_refusal()), Stage::kMessage);
    end_message();
    return {true, Event::kRefused};
  }
  if (found.kind == DataScanner::Output::Kind::kNeedInput || intake_ != Intake::kKept) return {};
  if (scanner_objects() || scanner_.content_bytes() > options_.limits.message_bytes) {
    MXRING_PROBE("content: faulty or too large");
    intake_ = Intake::kFaulty;
    return {true, Event::kDiscard};
  }
  run = found.run;
  return {true, Event::kContent};
}

// Judged at end of data, where everything is known, so that the reply does not depend on how the
// message was cut into inputs.
ReplyId Session::content_refusal() const {
  if (intake_ == Intake::kRefused) return refusal_;
  MXRING_ASSERT(intake_ == Intake::kFaulty);
  return scanner_.fault() == DataFault::kNone ? replies::kMessageTooLarge
                                              : reply_for(scanner_.fault());
}

// Binary content has no lines, and may have any byte (RFC 3030 3).
bool Session::scanner_objects() const {
  return scanner_.fault() != DataFault::kNone && envelope_.body != BodyType::kBinaryMime;
}

void Session::end_message() {
  end_transaction();
  phase_ = Phase::kCommand;
  commands_without_mail_ = 0;
}

void Session::end_transaction() {
  envelope_.clear();
  intake_ = Intake::kNone;
  transfer_ = Transfer::kData;
  bad_recipients_ = 0;
  insists_ = false;
}

void Session::accept(ReplyBuffer& out) {
  MXRING_ASSERT(phase_ == Phase::kAnswer);
  phase_ = Phase::kCommand;
  switch (asked_) {
    case Event::kMail:
      mail_refused_ = false;
      out.say(replies::kMailOk, stage_);
      break;
    case Event::kRecipient:
      envelope_.add_recipient(offered_);
      out.say(replies::kRecipientOk, stage_);
      break;
    case Event::kStartTls:
      out.say(replies::kStartTls, stage_);
      break;
    case Event::kXclient:
      take_named_client();
      greet(out);
      break;
    default:
      MXRING_ASSERT(asked_ == Event::kData && intake_ == Intake::kNone);
      scanner_.reset();
      intake_ = Intake::kKept;
      phase_ = transfer_ == Transfer::kChunks ? Phase::kChunk : Phase::kContent;
      if (transfer_ == Transfer::kData) out.say(replies::kStartData, stage_);
      break;
  }
  MXRING_ASSERT(phase_ != Phase::kAnswer);
  offered_ = {};
  trim_line();
}

// As if the client itself had just connected; errors so far stay counted.
void Session::take_named_client() {
  const XclientFacts& named = xclient_->offered;
  if (named.helo) xclient_->helo = *named.helo;
  if (named.protocol) xclient_->esmtp = base::ascii_iequals(*named.protocol, "ESMTP");
  helo_.clear();
  esmtp_ = false;
  mail_refused_ = false;
}

void Session::refuse(const Reply& reply, ReplyBuffer& out) {
  MXRING_ASSERT(phase_ == Phase::kAnswer);
  const bool in_chunks = asked_ == Event::kData && transfer_ == Transfer::kChunks;
  // First of all: who hears of it looks at what was refused. Of a chunk it is said at its end.
  if (!in_chunks) out.say(reply, stage_);
  phase_ = Phase::kCommand;
  if (asked_ == Event::kMail) {
    end_transaction();
    mail_refused_ = true;
  }
  offered_ = {};
  trim_line();
  if (in_chunks) {
    phase_ = Phase::kChunk;
    intake_ = Intake::kRefused;
    refusal_ = reply.id();
  }
}

void Session::finish(const Reply& reply, ReplyBuffer& out) {
  MXRING_ASSERT(phase_ == Phase::kWaiting);
  if (reply.is_success()) errors_ = 0;
  out.say(as_meant(reply), Stage::kMessage);
  end_message();
}

void Session::discard(ReplyId reply) {
  MXRING_ASSERT(message_open() && !waiting());
  MXRING_ASSERT(Reply(reply).is_refusal());
  if (intake_ != Intake::kKept) return;
  MXRING_PROBE("content: refused from outside, the rest is discarded");
  intake_ = Intake::kRefused;
  refusal_ = reply;
}

void Session::start_tls() {
  MXRING_ASSERT(phase_ == Phase::kCommand && !in_transaction());
  MXRING_ASSERT(!tls_ && chunk_.octets_left == 0);
  tls_ = true;
  helo_.clear();
  esmtp_ = false;
  mail_refused_ = false;
  tainted_ = false;
  commands_without_mail_ = 0;
  forget_line();
}

void Session::terminate(const Reply& reply, ReplyBuffer& out) {
  const Stage stage = receiving() || waiting() ? Stage::kMessage : stage_;
  if (!closed() && out.free() >= kReplyLineBytesMax) out.say(reply, stage);
  if (!closed()) phase_ = Phase::kClosed;
}

std::size_t Session::memory_bytes() const {
  const std::string empty;
  const auto heap = [&](const std::string& text) {
    return text.capacity() > empty.capacity() ? text.capacity() + 1 : 0;
  };
  const std::size_t xclient = xclient_ != nullptr ? sizeof *xclient_ + heap(xclient_->helo) : 0;
  return envelope_.memory_bytes() + heap(helo_) + heap(partial_line_) + xclient;
}

Session::Outcome Session::answer(const Reply& reply, ReplyBuffer& out) {
  out.say(reply, stage_);
  return {};
}

Session::Outcome Session::error(const Reply& reply, ReplyBuffer& out) {
  ++errors_;
  if (errors_ >= options_.limits.errors_hard) {
    MXRING_PROBE("command: 421, too many errors");
    return close(replies::kTooManyErrors, out);
  }
  out.say(reply, stage_);
  if (errors_ >= options_.limits.errors_soft) return {true, Event::kSlowDown};
  return {};
}

// No error of the dialogue, within reason: the good recipients of a list are to be reached.
Session::Outcome Session::bad_recipient(ReplyId reply, ReplyBuffer& out) {
  if (++bad_recipients_ > options_.limits.recipients) return close(replies::kTooManyErrors, out);
  return answer(reply, out);
}

Session::Outcome Session::close(const Reply& reply, ReplyBuffer& out) {
  out.say(reply, stage_);
  phase_ = Phase::kClosed;
  return {true, Event::kClose};
}

Session::Outcome Session::ask(Event event) {
  phase_ = Phase::kAnswer;
  asked_ = event;
  return {true, event};
}

}  // namespace mxring::smtp
