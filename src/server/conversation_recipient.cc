// A conversation's RCPT: rates, access rules, block lists, who is served; and journal addresses, at
// which nothing is refused for good.
#include "base/probe.h"
#include "server/conversation.h"

namespace mxring::server {

namespace replies = smtp::replies;

// Who asks for one unknown recipient after the other, and for no other, is guessing: slowed, then
// sent away, by the limits for errors. A recipient that is served begins the count anew.
bool Conversation::on_recipient(smtp::ReplyBuffer& out) {
  if (!in_time(RateKind::kRecipients, rules_->config.limits.recipients_per_minute)) {
    MXRING_PROBE("RCPT: 450, too many a minute");
    session_.refuse(replies::kTooManyPerMinute, out);
    return true;
  }
  return judge_recipient(out);
}

bool Conversation::judge_recipient(smtp::ReplyBuffer& out) {
  const Policy::Ruling ruling =
      rules_->policy.access({.client = facts_.address,
                             .helo = session_.helo(),
                             .sender = session_.envelope().reverse_path(),
                             .recipient = session_.offered_recipient().path});
  if (!ruling.refusal && ruling.lists_count && lists_ != nullptr) {
    if (lists_->under_way()) {
      MXRING_PROBE("RCPT: waits for block lists");
      hold(Hold::kLists);
      return false;
    }
    if (const BlockList* list = lists_->listed()) {
      MXRING_PROBE("RCPT: 554, on a block list");
      context_.counters.add(obs::Counter::kRecipientsListed);
      refuse_recipient(Policy::listed(*list, facts_.ip, context_.policy_scratch.reply), out);
      return true;
    }
  }
  return answer_recipient(ruling.refusal, out);
}

bool Conversation::answer_recipient(std::optional<smtp::Reply> refusal, smtp::ReplyBuffer& out) {
  const base::Limits& limits = rules_->config.limits;
  if (!refusal) refusal = rules_->policy.served(session_.offered_recipient().path);
  if (!refusal && session_.envelope().declared_size > limits.message_bytes) {
    refusal = replies::kMessageTooLarge;
  }
  if (!refusal) {
    guesses_ = 0;
    if (rules_->policy.insists(session_.offered_recipient().path)) session_.insist();
    session_.accept(out);
    return true;
  }
  refuse_recipient(*refusal, out);
  if (refusal->id() != replies::kUnknownRecipient) return true;
  ++guesses_;
  if (guesses_ >= limits.errors_hard) {
    MXRING_PROBE("RCPT: 421, too many guesses");
    session_.terminate(replies::kTooManyErrors, out);
    give_up();
    enter(Phase::kLastWords);
    return false;
  }
  if (guesses_ < limits.errors_soft) return true;
  MXRING_PROBE("RCPT: guesses slow a client down");
  hold(Hold::kSlowed);
  return false;
}

// At a journal address for now only.
void Conversation::refuse_recipient(const smtp::Reply& reply, smtp::ReplyBuffer& out) {
  const bool insists = rules_->policy.insists(session_.offered_recipient().path);
  if (insists) MXRING_PROBE("RCPT: a journal address is refused for now");
  session_.refuse(insists ? reply.for_now() : reply, out);
}

}  // namespace mxring::server
