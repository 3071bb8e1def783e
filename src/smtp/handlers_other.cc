// NOOP, VRFY, HELP and QUIT (RFC 5321 4.1.1.6 to 4.1.1.10), and what is no command of ours.
#include "smtp/handlers.h"
#include "smtp/replies.h"

namespace mxring::smtp {

Handlers::Outcome Handlers::noop(Session& session, const Call& call) {
  return session.answer(replies::kNoop, call.out);
}

// RFC 5321 3.5.3: 252 says nothing about the address, which is what strangers get to know here.
Handlers::Outcome Handlers::vrfy(Session& session, const Call& call) {
  return session.answer(replies::kCannotVerify, call.out);
}

Handlers::Outcome Handlers::help(Session& session, const Call& call) {
  return session.answer(replies::kHelp, call.out);
}

Handlers::Outcome Handlers::quit(Session& session, const Call& call) {
  return session.close(replies::kBye, call.out);
}

Handlers::Outcome Handlers::other(Session& session, const Call& call) {
  return session.error(replies::kNotOffered, call.out);
}

// A browser made to talk to port 25 carries SMTP commands in its request body: none is looked at.
Handlers::Outcome Handlers::http(Session& session, const Call& call) {
  return session.close(replies::kNotHttp, call.out);
}

Handlers::Outcome Handlers::unknown(Session& session, const Call& call) {
  return session.error(replies::kUnknownCommand, call.out);
}

}  // namespace mxring::smtp
