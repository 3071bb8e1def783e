// Lines, order of commands, message content and the error limits. What a command does is in
// handlers_*.cc.
#include "smtp/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/assert.h"
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

bool has_control_byte(std::string_view line) {
  bool found = false;
  for (const char c : line) found |= static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
  return found;
}

State state_of(const Session& session) {
  if (session.helo().empty()) return State::kConnected;
  if (!session.in_transaction()) return State::kGreeted;
  return session.envelope().recipients() == 0 ? State::kSender : State::kRecipients;
}

}  // namespace

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

void Session::refuse_early_talker(ReplyBuffer& out) {
  close(replies::kEarlyTalker, out);
}

Step Session::step(const Input& input, ReplyBuffer& out) {
  MXRING_ASSERT(phase_ != Phase::kAnswer);
  if (phase_ == Phase::kWaiting) return {Event::kWaiting, 0, {}};
  if (phase_ == Phase::kClosed) return {Event::kClose, 0, {}};
  if (input.bytes.empty()) return {Event::kNeedInput, 0, {}};
  if (out.free() < kReplyBytesMax) {
    MXRING_ASSERT(out.size() > 0);  // an empty buffer this small would never let us go on
    return {Event::kOutputFull, 0, {}};
  }
  return phase_ == Phase::kContent ? step_content(input.bytes, out) : step_commands(input, out);
}

Step Session::step_commands(const Input& input, ReplyBuffer& out) {
  std::string_view rest = input.bytes;
  const auto consumed = [&] { return input.bytes.size() - rest.size(); };
  while (!rest.empty()) {
    if (out.free() < kReplyBytesMax) return {Event::kOutputFull, consumed(), {}};
    std::string_view line;
    if (!take_line(rest, line)) break;
    const Outcome outcome = end_line(line, Input{rest, input.more_behind}, out);
    if (outcome.stop) return {outcome.event, consumed(), {}};
  }
  return {Event::kNeedInput, consumed(), {}};
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
  if (before == 0) partial_line_.clear();
  if (total > keep_max) {
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

Session::Outcome Session::end_line(std::string_view line, const Input& behind, ReplyBuffer& out) {
  const std::size_t bytes = line_bytes_;
  const bool crlf = line_ends_in_crlf(line);
  forget_line();
  ++commands_;
  stage_ = Stage::kCommand;
  if (bytes > options_.limits.command_line_close_bytes) return close(replies::kLineTooLong, out);
  if (!crlf || tainted_) {
    tainted_ = !crlf;
    return error(replies::kLineNotCrlf, out);
  }
  const std::size_t bytes_max =
      options_.limits.command_line_bytes +
      (takes_parameters(line) ? options_.limits.command_line_extra_bytes : 0);
  if (line.empty() || bytes > bytes_max) return error(replies::kLineTooLong, out);
  line.remove_suffix(2);
  if (has_control_byte(line)) return error(replies::kControlByte, out);
  const Outcome outcome = run_command(line, behind, out);
  if (phase_ != Phase::kAnswer) trim_line();  // the answer may look at the line
  return outcome;
}

Session::Outcome Session::run_command(std::string_view line, const Input& behind,
                                      ReplyBuffer& out) {
  const CommandLine command = parse_command(line);
  if (command.verb == Verb::kUnknown && line.find_first_not_of(' ') == std::string_view::npos) {
    return error(replies::kEmptyLine, out);
  }
  const CommandRow& command_row = row(command.verb);
  stage_ = command_row.stage;
  const bool has_argument = !command.arguments.empty();
  if ((command_row.flags & kArgumentForbidden) != 0 && has_argument) {
    return error(replies::kNoArguments, out);
  }
  // Whoever sends on behind DATA does not wait for its reply, and what follows may be a message:
  // read as commands it could be anything.
  if ((command_row.flags & kNothingBehind) != 0 && (!behind.bytes.empty() || behind.more_behind)) {
    return close(replies::kEarlyData, out);
  }
  const State state = state_of(*this);
  if ((command_row.states & in(state)) == 0) {
    const ReplyId reply = out_of_order(command.verb, state);
    // A pipelining client could not know; it must not be cut off for the rest of its group.
    const bool follows = mail_refused_ && reply == replies::kNeedMail;
    if (follows || reply == replies::kNoValidRecipients) return answer(reply, out);
    return error(reply, out);
  }
  if ((command_row.flags & kArgumentRequired) != 0 && !has_argument) {
    return error(replies::kNeedArgument, out);
  }
  return command_row.handler(*this, Handlers::Call{command.arguments, behind, out});
}

Step Session::step_content(std::string_view input, ReplyBuffer& out) {
  std::string_view rest = input;
  while (!rest.empty()) {
    const DataScanner::Output found = scanner_.next(rest);
    rest.remove_prefix(found.consumed);
    const std::size_t consumed = input.size() - rest.size();
    if (found.kind == DataScanner::Output::Kind::kEndOfData) {
      ++messages_;
      if (!discarding_) {
        phase_ = Phase::kWaiting;
        return {Event::kMessage, consumed, {}};
      }
      out.say(content_refusal(), Stage::kMessage);
      end_message();
      return {Event::kRefused, consumed, {}};
    }
    if (found.kind == DataScanner::Output::Kind::kNeedInput || discarding_) continue;
    if (scanner_.fault() != DataFault::kNone ||
        scanner_.content_bytes() > options_.limits.message_bytes) {
      discarding_ = true;
      return {Event::kDiscard, consumed, {}};
    }
    return {Event::kContent, consumed, found.run};
  }
  return {Event::kNeedInput, input.size(), {}};
}

// Judged at end of data, where everything is known, so that the reply does not depend on how the
// message was cut into inputs.
ReplyId Session::content_refusal() const {
  if (dropped_) return refusal_;
  switch (scanner_.fault()) {
    case DataFault::kBareCr:
      return replies::kBareCr;
    case DataFault::kBareLf:
      return replies::kBareLf;
    case DataFault::kNul:
      return replies::kNul;
    case DataFault::kLineTooLong:
      return replies::kMessageLineTooLong;
    case DataFault::kNone:
      break;
  }
  return replies::kMessageTooLarge;
}

void Session::end_message() {
  envelope_.clear();
  phase_ = Phase::kCommand;
  discarding_ = false;
  dropped_ = false;
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
    default:
      scanner_.reset();
      phase_ = Phase::kContent;
      out.say(replies::kStartData, stage_);
      break;
  }
  offered_ = {};
  trim_line();
}

void Session::refuse(const Reply& reply, ReplyBuffer& out) {
  MXRING_ASSERT(phase_ == Phase::kAnswer);
  // First of all: who hears of it looks at what was refused.
  out.say(reply, stage_);
  phase_ = Phase::kCommand;
  if (asked_ == Event::kMail) {
    envelope_.clear();
    mail_refused_ = true;
  }
  offered_ = {};
  trim_line();
}

void Session::finish(const Reply& reply, ReplyBuffer& out) {
  MXRING_ASSERT(phase_ == Phase::kWaiting);
  if (reply.is_success()) errors_ = 0;
  out.say(reply, Stage::kMessage);
  end_message();
}

void Session::discard(ReplyId reply) {
  MXRING_ASSERT(phase_ == Phase::kContent);
  MXRING_ASSERT(Reply(reply).is_refusal());
  if (discarding_) return;
  discarding_ = true;
  dropped_ = true;
  refusal_ = reply;
}

void Session::start_tls() {
  MXRING_ASSERT(phase_ == Phase::kCommand && !in_transaction());
  tls_ = true;
  helo_.clear();
  esmtp_ = false;
  mail_refused_ = false;
  tainted_ = false;
  forget_line();
}

void Session::terminate(const Reply& reply, ReplyBuffer& out) {
  const Stage stage = receiving() || waiting() ? Stage::kMessage : stage_;
  if (phase_ != Phase::kClosed && out.free() >= kReplyLineBytesMax) out.say(reply, stage);
  phase_ = Phase::kClosed;
}

std::size_t Session::memory_bytes() const {
  const std::string empty;
  const auto heap = [&](const std::string& text) {
    return text.capacity() > empty.capacity() ? text.capacity() + 1 : 0;
  };
  return envelope_.memory_bytes() + heap(helo_) + heap(partial_line_);
}

Session::Outcome Session::answer(const Reply& reply, ReplyBuffer& out) {
  out.say(reply, stage_);
  return {};
}

Session::Outcome Session::error(const Reply& reply, ReplyBuffer& out) {
  ++errors_;
  if (errors_ >= options_.limits.errors_hard) return close(replies::kTooManyErrors, out);
  out.say(reply, stage_);
  if (errors_ >= options_.limits.errors_soft) return {true, Event::kSlowDown};
  return {};
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
