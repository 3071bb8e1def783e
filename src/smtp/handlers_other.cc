// NOOP, VRFY, HELP and QUIT (RFC 5321 4.1.1.6 to 4.1.1.10), and what is no command of ours.
#include <array>

#include "smtp/command_table.h"
#include "smtp/handlers.h"
#include "smtp/reply.h"

namespace mxring::smtp {

namespace {

struct HelpText {
  std::array<char, 256> bytes{};
  std::size_t size = 0;

  constexpr void add(std::string_view text) {
    for (const char c : text) bytes[size++] = c;
  }
};

constexpr HelpText make_help() {
  HelpText help;
  for (const CommandRow& command : kCommandTable) {
    if ((command.flags & kForFriends) != 0) continue;
    if (help.size > 0) help.add(" ");
    help.add(command.verb);
  }
  help.add("; see RFC 5321");
  return help;
}

constexpr HelpText kHelpText = make_help();

}  // namespace

Handlers::Outcome Handlers::noop(Session& session, const Call& call) {
  return session.answer(replies::kNoop, call.out);
}

// RFC 5321 3.5.3: 252 says nothing about the address, which is what strangers get to know here.
Handlers::Outcome Handlers::vrfy(Session& session, const Call& call) {
  return session.answer(replies::kCannotVerify, call.out);
}

Handlers::Outcome Handlers::help(Session& session, const Call& call) {
  return session.answer(Reply(replies::kHelp).with({kHelpText.bytes.data(), kHelpText.size}),
                        call.out);
}

Handlers::Outcome Handlers::quit(Session& session, const Call& call) {
  const Outcome outcome = session.close(replies::kBye, call.out);
  session.phase_ = Session::Phase::kGoodbye;
  return outcome;
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
