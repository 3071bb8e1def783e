// MAIL, RCPT, DATA and RSET (RFC 5321 3.3, 4.1.1.2 to 4.1.1.5).
#include "base/probe.h"
#include "smtp/command.h"
#include "smtp/handlers.h"
#include "smtp/reply.h"

namespace mxring::smtp {

Handlers::Outcome Handlers::mail(Session& session, const Call& call) {
  const base::Limits& limits = session.options_.limits;
  if (session.messages_ >= limits.messages_per_connection) {
    MXRING_PROBE("MAIL: 421, too many on this connection");
    return session.close(replies::kTooManyMessages, call.out);
  }
  const auto mail = parse_mail(call.arguments, {.esmtp = session.esmtp_,
                                                .tls = session.tls_,
                                                .smtputf8 = false,
                                                .leniency = session.options_.leniency});
  if (!mail) return session.error(mail.error(), call.out);
  if (mail->declared_size > limits.message_bytes && !session.options_.size_at_rcpt) {
    // The client's own business, not an error of the dialogue; RCPTs pipelined behind it neither.
    MXRING_PROBE("MAIL: 552, SIZE is too large");
    session.mail_refused_ = true;
    return session.answer(replies::kMessageTooLarge, call.out);
  }
  Envelope& envelope = session.envelope_;
  envelope.begin(mail->reverse_path);
  envelope.set_envelope_id(mail->envelope_id);
  envelope.declared_size = mail->declared_size;
  envelope.body = mail->body;
  envelope.dsn_return = mail->dsn_return;
  envelope.smtputf8 = mail->smtputf8;
  envelope.requiretls = mail->requiretls;
  return session.ask(Event::kMail);
}

Handlers::Outcome Handlers::rcpt(Session& session, const Call& call) {
  if (session.envelope_.recipients() >= session.options_.limits.recipients) {
    MXRING_PROBE("RCPT: 452, too many");
    return session.answer(replies::kTooManyRecipients, call.out);
  }
  const auto recipient = parse_rcpt(call.arguments, {.esmtp = session.esmtp_,
                                                     .smtputf8 = session.envelope_.smtputf8,
                                                     .leniency = session.options_.leniency});
  if (!recipient) return session.bad_recipient(recipient.error(), call.out);
  session.offered_ = *recipient;
  return session.ask(Event::kRecipient);
}

Handlers::Outcome Handlers::data(Session& session, const Call& call) {
  if (session.envelope_.body == BodyType::kBinaryMime) {
    return session.error(replies::kNeedChunks, call.out);
  }
  return session.ask(Event::kData);
}

Handlers::Outcome Handlers::bdat(Session& session, const Call& call) {
  return session.begin_chunk(call.arguments, call.out);
}

Handlers::Outcome Handlers::rset(Session& session, const Call& call) {
  session.mail_refused_ = false;
  session.answer(replies::kReset, call.out);
  if (!session.in_transaction()) return {};
  MXRING_PROBE("RSET: a transaction is forgotten");
  session.end_transaction();
  return {true, Event::kReset};
}

}  // namespace mxring::smtp
