// EHLO and HELO (RFC 5321 4.1.1.1), STARTTLS (RFC 3207), XCLIENT.
#include <fmt/format.h>

#include "base/probe.h"
#include "smtp/command_table.h"
#include "smtp/handlers.h"
#include "smtp/path.h"
#include "smtp/reply.h"

namespace mxring::smtp {

Handlers::Outcome Handlers::greet_back(Session& session, const Call& call, bool esmtp) {
  if (!is_hello_name(call.arguments, session.options_.leniency))
    return session.error(replies::kBadDomain, call.out);
  // What a proxy says of its client stays, whatever it calls itself.
  const bool named = session.xclient_ != nullptr && !session.xclient_->helo.empty();
  session.helo_ = named ? std::string_view(session.xclient_->helo) : call.arguments;
  session.esmtp_ = esmtp;
  session.mail_refused_ = false;
  const SessionOptions& options = session.options_;
  const std::string_view tls_lines = session.tls_       ? "250-REQUIRETLS\r\n"
                                     : options.starttls ? "250-STARTTLS\r\n"
                                                        : "";
  const std::string xclient_line =
      session.xclient_ != nullptr ? fmt::format("250-XCLIENT {}\r\n", kXclientAttributes) : "";
  char reply[kReplyBytesMax];
  const auto end =
      esmtp ? fmt::format_to_n(reply, sizeof reply,
                               "250-{}\r\n"
                               "250-PIPELINING\r\n"
                               "250-SIZE {}\r\n"
                               "250-8BITMIME\r\n"
                               "250-BINARYMIME\r\n"
                               "250-CHUNKING\r\n"
                               "250-ENHANCEDSTATUSCODES\r\n"
                               "250-SMTPUTF8\r\n"
                               "250-DSN\r\n"
                               "250-LIMITS RCPTMAX={} MAILMAX={}\r\n"
                               "{}{}"
                               "250 HELP\r\n",
                               options.hostname, options.limits.message_bytes,
                               options.limits.recipients, options.limits.messages_per_connection,
                               tls_lines, xclient_line)
            : fmt::format_to_n(reply, sizeof reply, "250 {}\r\n", options.hostname);
  call.out.say_lines(replies::kHello, Stage::kHello, {reply, end.size});
  if (!session.in_transaction()) return {};
  MXRING_PROBE("EHLO: a transaction is forgotten");
  session.end_transaction();
  return {true, Event::kReset};
}

Handlers::Outcome Handlers::ehlo(Session& session, const Call& call) {
  return greet_back(session, call, true);
}

Handlers::Outcome Handlers::helo(Session& session, const Call& call) {
  return greet_back(session, call, false);
}

Handlers::Outcome Handlers::xclient(Session& session, const Call& call) {
  if (session.xclient_ == nullptr) return session.error(replies::kXclientDenied, call.out);
  auto named = parse_xclient(call.arguments);
  const bool good = named &&
                    (!named->helo || is_hello_name(*named->helo, session.options_.leniency)) &&
                    (!named->name || named->name->empty() || is_domain(*named->name));
  if (!good) return session.error(replies::kBadXclient, call.out);
  session.xclient_->offered = *std::move(named);
  return session.ask(Event::kXclient);
}

// Whatever was sent behind the command was sent in the clear, maybe by somebody in between: the
// owner drops it unread.
Handlers::Outcome Handlers::starttls(Session& session, const Call& call) {
  if (session.tls_) return session.error(replies::kTlsAlready, call.out);
  if (!session.options_.starttls) return session.error(replies::kNotOffered, call.out);
  return session.ask(Event::kStartTls);
}

}  // namespace mxring::smtp
