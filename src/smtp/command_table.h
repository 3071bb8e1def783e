// The protocol on one screen: every command with the states it is allowed in (RFC 5321 4.1.4), what
// its line may look like, where it is specified and what carries it out. Order of the rows is that
// of enum Verb.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "smtp/command.h"
#include "smtp/handlers.h"
#include "smtp/reply.h"

namespace mxring::smtp {

// Where a session stands between commands.
enum class State : std::uint8_t {
  kConnected,   // no EHLO or HELO yet
  kGreeted,     // no transaction
  kSender,      // MAIL accepted
  kRecipients,  // at least one RCPT accepted
};
constexpr std::size_t kStates = 4;

using StateSet = std::uint8_t;
constexpr StateSet in(State state) {
  return static_cast<StateSet>(1U << static_cast<unsigned>(state));
}
constexpr StateSet kAnyState =
    in(State::kConnected) | in(State::kGreeted) | in(State::kSender) | in(State::kRecipients);
constexpr StateSet kGreetedOnly = in(State::kGreeted);
constexpr StateSet kWithRecipient = in(State::kRecipients);
constexpr StateSet kAfterMail = in(State::kSender) | in(State::kRecipients);

enum CommandFlag : std::uint8_t {
  kArgumentRequired = 1,   // 501 5.5.4 without one
  kArgumentForbidden = 2,  // 501 5.5.4 with one
  kNothingBehind = 4,      // 554 5.5.0 and close when more was sent without waiting for the reply
};

struct CommandRow {
  std::string_view verb;
  Verb id;
  StateSet states;
  std::uint8_t flags;
  Stage stage;               // of its replies
  std::string_view section;  // of RFC 5321, unless it names another
  Handlers::Function handler;
};

// The last three have no verb: they stand for commands of others, for HTTP, and for the rest.
// clang-format off
constexpr std::uint8_t kDataFlags = kArgumentForbidden | kNothingBehind;
constexpr std::array<CommandRow, kVerbs> kCommandTable{{
  {"EHLO", Verb::kEhlo, kAnyState,      kArgumentRequired,  Stage::kHello,     "4.1.1.1",  Handlers::ehlo},
  {"HELO", Verb::kHelo, kAnyState,      kArgumentRequired,  Stage::kHello,     "4.1.1.1",  Handlers::helo},
  {"MAIL", Verb::kMail, kGreetedOnly,   kArgumentRequired,  Stage::kMail,      "4.1.1.2",  Handlers::mail},
  {"RCPT", Verb::kRcpt, kAfterMail,     kArgumentRequired,  Stage::kRecipient, "4.1.1.3",  Handlers::rcpt},
  {"DATA", Verb::kData, kWithRecipient, kDataFlags,         Stage::kData,      "4.1.1.4",  Handlers::data},
  {"RSET", Verb::kRset, kAnyState,      kArgumentForbidden, Stage::kCommand,   "4.1.1.5",  Handlers::rset},
  {"NOOP", Verb::kNoop, kAnyState,      0,                  Stage::kCommand,   "4.1.1.9",  Handlers::noop},
  {"VRFY", Verb::kVrfy, kAnyState,      kArgumentRequired,  Stage::kCommand,   "4.1.1.6",  Handlers::vrfy},
  {"HELP", Verb::kHelp, kAnyState,      0,                  Stage::kCommand,   "4.1.1.8",  Handlers::help},
  {"QUIT", Verb::kQuit, kAnyState,      kArgumentForbidden, Stage::kCommand,   "4.1.1.10", Handlers::quit},
  {"STARTTLS", Verb::kStartTls, kGreetedOnly, kArgumentForbidden, Stage::kStartTls, "RFC 3207", Handlers::starttls},
  {"", Verb::kNotOffered, kAnyState,    0,                  Stage::kCommand,   "4.2.4",    Handlers::other},
  {"", Verb::kHttp,       kAnyState,    0,                  Stage::kCommand,   "4.5.1",    Handlers::http},
  {"", Verb::kUnknown,    kAnyState,    0,                  Stage::kCommand,   "4.2.4",    Handlers::unknown},
}};
// clang-format on

constexpr const CommandRow& row(Verb verb) {
  return kCommandTable[static_cast<std::size_t>(verb)];
}

constexpr bool rows_in_order() {
  for (std::size_t i = 0; i < kVerbs; ++i) {
    if (static_cast<std::size_t>(kCommandTable[i].id) != i) return false;
  }
  return true;
}
static_assert(rows_in_order());

// The reply to a command that its row does not allow in `state`.
constexpr ReplyId out_of_order(Verb verb, State state) {
  if (state == State::kConnected) return replies::kNeedHello;
  if (verb == Verb::kMail || verb == Verb::kStartTls) return replies::kNestedMail;
  if (verb == Verb::kData && state == State::kSender) return replies::kNoValidRecipients;
  return replies::kNeedMail;
}

}  // namespace mxring::smtp
