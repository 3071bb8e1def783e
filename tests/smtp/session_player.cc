#include "tests/smtp/session_player.h"

#include <memory>

#include "base/assert.h"

namespace mxring::smtp {

namespace {

std::string in_words(const Envelope& envelope) {
  std::string words;
  const auto add = [&](std::string_view word) {
    if (!words.empty()) words += ' ';
    words += word;
  };
  if (envelope.declared_size != 0) add("SIZE=" + std::to_string(envelope.declared_size));
  if (envelope.body == BodyType::k7Bit) add("BODY=7BIT");
  if (envelope.body == BodyType::k8BitMime) add("BODY=8BITMIME");
  if (envelope.body == BodyType::kBinaryMime) add("BODY=BINARYMIME");
  if (envelope.smtputf8) add("SMTPUTF8");
  if (envelope.requiretls) add("REQUIRETLS");
  if (envelope.dsn_return == DsnReturn::kFull) add("RET=FULL");
  if (envelope.dsn_return == DsnReturn::kHeaders) add("RET=HDRS");
  if (!envelope.envelope_id().empty()) add("ENVID=" + std::string(envelope.envelope_id()));
  for (std::size_t i = 0; i < envelope.recipients(); ++i) {
    const Envelope::Recipient recipient = envelope.recipient(i);
    if ((recipient.notify & kNotifyNever) != 0) add("NEVER");
    if ((recipient.notify & kNotifySuccess) != 0) add("SUCCESS");
    if ((recipient.notify & kNotifyFailure) != 0) add("FAILURE");
    if ((recipient.notify & kNotifyDelay) != 0) add("DELAY");
    if (!recipient.original.empty()) add("ORCPT=" + std::string(recipient.original));
  }
  return words;
}

}  // namespace

Reply reply_from(std::string_view line) {
  for (const ReplyRow& candidate : kReplies) {
    if (candidate.line == line) return candidate.id;
  }
  for (const ReplyRow& candidate : kReplies) {
    const Reply reply(candidate.id);
    if (line.starts_with(reply.codes()) && line.substr(reply.codes().size()).starts_with(' ')) {
      return reply.with(line.substr(reply.codes().size() + 1));
    }
  }
  MXRING_ASSERT(false);  // the table has no such reply
  return replies::kNoop;
}

std::map<unsigned, unsigned> replies_by_code(std::string_view lines) {
  std::map<unsigned, unsigned> counts;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find("\r\n"));
    MXRING_ASSERT(line.size() >= 4);
    if (line[3] == ' ') ++counts[static_cast<unsigned>(std::stoi(std::string(line.substr(0, 3))))];
    lines.remove_prefix(line.size() + 2);
  }
  return counts;
}

SessionPlayer::SessionPlayer(const SessionOptions& options, const OwnerPolicy& policy,
                             std::size_t output_bytes)
    : policy_(policy), session_(options), memory_(output_bytes), out_(memory_, this) {
  if (policy.xclient) session_.allow_xclient();
}

void SessionPlayer::said(const Reply& reply, Stage stage) {
  MXRING_ASSERT(!word(stage).empty());
  ++said_[reply.code()];
}

void SessionPlayer::greet() {
  session_.greet(out_);
}

void SessionPlayer::flush() {
  transcript_.replies += out_.text();
  out_ = ReplyBuffer(memory_, this);
}

std::string SessionPlayer::take_replies() {
  flush();
  std::string fresh = transcript_.replies.substr(replies_taken_);
  replies_taken_ = transcript_.replies.size();
  return fresh;
}

void SessionPlayer::answer_xclient(ReplyBuffer& out) {
  if (!policy_.refuse_xclient.empty()) {
    session_.terminate(reply_from(policy_.refuse_xclient), out);
    return;
  }
  const XclientFacts& named = session_.offered_client();
  std::string& words = transcript_.named;
  if (named.address) words += " addr=" + named.address->to_string();
  if (named.port) words += " port=" + std::to_string(*named.port);
  if (named.name) words += " name=" + *named.name;
  if (named.helo) words += " helo=" + *named.helo;
  if (named.protocol) words += " proto=" + *named.protocol;
  if (named.destination) words += " destaddr=" + named.destination->to_string();
  session_.accept(out);
}

void SessionPlayer::play(const std::vector<std::string_view>& pieces) {
  // What follows STARTTLS in a group never gets here: it is dropped, or no TLS.
  const unsigned encrypted = transcript_.encrypted;
  for (std::size_t i = 0; i < pieces.size() && !transcript_.closed; ++i) {
    play_piece(pieces[i], i + 1 < pieces.size());
    if (transcript_.encrypted != encrypted) break;
  }
}

void SessionPlayer::play_piece(std::string_view piece, bool more_behind) {
  const auto memory = std::make_unique<char[]>(piece.size());
  std::copy(piece.begin(), piece.end(), memory.get());
  Input input{{memory.get(), piece.size()}, more_behind, true};
  bool progress = true;  // kOutputFull twice without any would never end
  for (;;) {
    const Step step = session_.step(input, out_);
    MXRING_ASSERT(step.consumed <= input.bytes.size());
    input.bytes.remove_prefix(step.consumed);
    if (step.consumed != 0) progress = true;
    switch (step.event) {
      case Event::kNeedInput:
        MXRING_ASSERT(input.bytes.empty());
        return;
      case Event::kOutputFull:
        MXRING_ASSERT(progress);
        progress = false;
        flush();
        break;
      case Event::kSlowDown:
        ++transcript_.slow;
        break;
      case Event::kMail:
        answer_mail(out_);
        break;
      case Event::kRecipient:
        answer_recipient(out_);
        break;
      case Event::kData:
        content_.clear();
        if (policy_.refuse_data.empty()) {
          session_.accept(out_);
        } else {
          session_.refuse(reply_from(policy_.refuse_data), out_);
        }
        break;
      case Event::kStartTls:
        session_.accept(out_);
        session_.start_tls();
        ++transcript_.encrypted;
        return;
      case Event::kXclient:
        answer_xclient(out_);
        break;
      case Event::kContent:
        MXRING_ASSERT(!step.run.empty());
        content_ += step.run;
        if (content_.size() > policy_.discard_after_bytes) {
          session_.discard(reply_from(policy_.discard_reply).id());
        }
        break;
      case Event::kDiscard:
        ++transcript_.discards;
        break;
      case Event::kMessage:
        MXRING_ASSERT(session_.step(input, out_).event == Event::kWaiting);
        end_message(out_);
        break;
      case Event::kRefused:
        ++transcript_.refused;
        break;
      case Event::kWaiting:
        MXRING_ASSERT(step.event != Event::kWaiting);  // every message was answered
        break;
      case Event::kReset:
        ++transcript_.resets;
        break;
      case Event::kClose:
        transcript_.closed = true;
        return;
    }
  }
}

void SessionPlayer::answer_mail(ReplyBuffer& out) {
  const auto found = policy_.refuse_mail.find(session_.envelope().reverse_path());
  if (found == policy_.refuse_mail.end()) {
    session_.accept(out);
  } else {
    session_.refuse(reply_from(found->second), out);
  }
}

void SessionPlayer::answer_recipient(ReplyBuffer& out) {
  const auto found = policy_.refuse_rcpt.find(session_.offered_recipient().path);
  if (found == policy_.refuse_rcpt.end()) {
    session_.accept(out);
  } else {
    session_.refuse(reply_from(found->second), out);
  }
}

void SessionPlayer::end_message(ReplyBuffer& out) {
  const Envelope& envelope = session_.envelope();
  ReceivedMessage message;
  message.mail_from = envelope.reverse_path();
  for (std::size_t i = 0; i < envelope.recipients(); ++i) {
    message.rcpt_to.emplace_back(envelope.recipient(i).path);
  }
  message.parameters = in_words(envelope);
  message.content = content_;
  transcript_.messages.push_back(std::move(message));
  const std::string line = policy_.finish.empty()
                               ? "250 2.0.0 Ok " + std::to_string(transcript_.messages.size() - 1)
                               : policy_.finish;
  session_.finish(reply_from(line), out);
}

std::vector<std::string_view> cut_every(std::string_view bytes, std::size_t size) {
  std::vector<std::string_view> pieces;
  while (!bytes.empty()) {
    pieces.push_back(bytes.substr(0, size));
    bytes.remove_prefix(std::min(size, bytes.size()));
  }
  return pieces;
}

}  // namespace mxring::smtp
