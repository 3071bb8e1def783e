// The conversation's side of the journal: every reply it gives comes by here once, and so does
// every end without one. Nothing is put together for a line that is not written.
#include "server/conversation.h"
#include "server/journal.h"
#include "server/result_counters.h"

namespace mxring::server {

void Conversation::said(const smtp::Reply& reply, smtp::Stage stage) {
  count_reply(context_.counters, reply);
  if (stage == smtp::Stage::kMail) judged_ = {};
  journal_reply(reply, stage);
  if (context_.tracers != nullptr) trace_reply(reply, stage);
}

// Also of replies that the client does not read any more.
void Conversation::journal_reply(const smtp::Reply& reply, smtp::Stage stage) {
  Journal* const journal = context_.journal;
  if (journal == nullptr || !journal->wants(reply)) return;
  if (!journal->admit(reply, stage, context_.now.wall)) return;
  JournalLine line = journal_line();
  // The one that is refused is no part of the envelope.
  offered_to_journal_ =
      stage == smtp::Stage::kRecipient ? session_.offered_recipient().path : std::string_view();
  if (!offered_to_journal_.empty()) ++line.recipients;
  journal->say(line, reply, stage);
}

void Conversation::journal_cut_off(CutOff why) {
  Journal* const journal = context_.journal;
  if (journal == nullptr || !journal->on() || !journal->admit(why, context_.now.wall)) return;
  JournalLine line = journal_line();
  journal->say(line, why);
}

JournalLine Conversation::journal_line() const {
  JournalLine line;
  line.time = context_.now.wall;
  line.session = session_id_;
  line.ip = facts_.ip;
  line.port = facts_.port;
  line.helo = session_.helo();
  line.name = client_name();
  line.via = facts_.via_ip;
  line.tls = facts_.tls;
  line.in_transaction = session_.in_transaction();
  line.mail_from = session_.envelope().reverse_path();
  line.recipients = session_.envelope().recipients();
  line.recipients_of = this;
  line.recipient = [](const void* of, std::size_t index) {
    const auto& self = *static_cast<const Conversation*>(of);
    const smtp::Envelope& envelope = self.session_.envelope();
    return index < envelope.recipients() ? envelope.recipient(index).path
                                         : self.offered_to_journal_;
  };
  const bool inside = session_.receiving() || session_.waiting();
  if (inside) {
    line.has_size = true;
    line.size = session_.data().content_bytes();
  }
  line.spf = judged_.spf;
  line.dmarc = judged_.dmarc;
  return line;
}

}  // namespace mxring::server
