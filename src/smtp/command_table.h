// The protocol on one screen: every command with the states it is allowed in (RFC 5321 4.1.4), what
// its line may look like, where it is specified and what carries it out. The parser, HELP and the
// order of commands are made from it: a verb is its row and its handler.
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
  kChunks,      // BDAT began the message
};
constexpr std::size_t kStates = 5;

using StateSet = std::uint8_t;
constexpr StateSet in(State state) {
  return static_cast<StateSet>(1U << static_cast<unsigned>(state));
}
constexpr StateSet kAnyState = (1U << kStates) - 1;
constexpr StateSet kGreetedOnly = in(State::kGreeted);
constexpr StateSet kNoTransaction = in(State::kConnected) | in(State::kGreeted);
constexpr StateSet kWithRecipient = in(State::kRecipients);
constexpr StateSet kWithChunks = in(State::kRecipients) | in(State::kChunks);
constexpr StateSet kAfterMail = in(State::kSender) | in(State::kRecipients);

enum CommandFlag : std::uint8_t {
  kArgumentRequired = 1,   // 501 5.5.4 without one
  kArgumentForbidden = 2,  // 501 5.5.4 with one
  kNothingBehind = 4,      // 554 5.5.0 and close when more was sent without waiting for the reply
  kTakesParameters = 8,    // the line may be longer by them (RFC 5321 4.5.3.1.4)
  kStrictSpaces = 16,      // one space after the verb, unless [syntax] allows more
  kNoMail = 32,            // counted: so many on end bring no mail (limits.commands_without_mail)
  kHasPayload = 64,        // octets follow that are no commands, whatever the reply is
  kForFriends = 128,       // not in HELP
};

struct CommandRow {
  std::string_view verb;
  StateSet states;
  std::uint8_t flags;
  Stage stage;               // of its replies
  std::string_view section;  // of RFC 5321, unless it names another
  Handlers::Function handler;
};

// clang-format off
constexpr std::uint8_t kHelloFlags = kArgumentRequired | kNoMail;
constexpr std::uint8_t kPathFlags = kArgumentRequired | kTakesParameters | kStrictSpaces;
constexpr std::uint8_t kDataFlags = kArgumentForbidden | kNothingBehind;
constexpr std::uint8_t kResetFlags = kArgumentForbidden | kNoMail;
constexpr std::uint8_t kXclientFlags =
    kArgumentRequired | kTakesParameters | kNoMail | kForFriends;
constexpr std::uint8_t kNoArgument = kArgumentForbidden;
inline constexpr std::array kCommandTable{
  CommandRow{"MAIL", kGreetedOnly,   kPathFlags,  Stage::kMail,      "4.1.1.2", Handlers::mail},
  CommandRow{"RCPT", kAfterMail,     kPathFlags,  Stage::kRecipient, "4.1.1.3", Handlers::rcpt},
  CommandRow{"DATA", kWithRecipient, kDataFlags,  Stage::kData,      "4.1.1.4", Handlers::data},
  CommandRow{"BDAT", kWithChunks,    kHasPayload, Stage::kData,      "RFC 3030", Handlers::bdat},
  CommandRow{"EHLO", kAnyState,      kHelloFlags, Stage::kHello,     "4.1.1.1", Handlers::ehlo},
  CommandRow{"HELO", kAnyState,      kHelloFlags, Stage::kHello,     "4.1.1.1", Handlers::helo},
  CommandRow{"RSET", kAnyState,      kResetFlags, Stage::kCommand,   "4.1.1.5", Handlers::rset},
  CommandRow{"NOOP", kAnyState,      kNoMail,     Stage::kCommand,   "4.1.1.9", Handlers::noop},
  CommandRow{"VRFY", kAnyState,      kHelloFlags, Stage::kCommand,   "4.1.1.6", Handlers::vrfy},
  CommandRow{"HELP", kAnyState,      kNoMail,     Stage::kCommand,   "4.1.1.8", Handlers::help},
  CommandRow{"XCLIENT", kNoTransaction, kXclientFlags, Stage::kHello, "Postfix XCLIENT",
             Handlers::xclient},
  CommandRow{"QUIT", kAnyState,      kNoArgument, Stage::kCommand,   "4.1.1.10", Handlers::quit},
  CommandRow{"STARTTLS", kGreetedOnly, kNoArgument, Stage::kStartTls, "RFC 3207",
             Handlers::starttls},
};
// Commands of others, HTTP, and the rest.
inline constexpr CommandRow kNotOfferedRow{"", kAnyState, 0, Stage::kCommand, "4.2.4",
                                           Handlers::other};
inline constexpr CommandRow kHttpRow{"", kAnyState, 0, Stage::kCommand, "4.5.1", Handlers::http};
inline constexpr CommandRow kUnknownRow{"", kAnyState, 0, Stage::kCommand, "4.2.4",
                                        Handlers::unknown};
// clang-format on

// A verb as one number, letter case cleared. Clearing bit 5 of any other byte never makes a capital
// letter, so only the verb itself compares equal.
constexpr std::size_t kVerbBytesMax = 8;
constexpr std::uint64_t folded(std::string_view verb) {
  std::uint64_t number = 0;
  for (const char c : verb) number = number << 8 | (static_cast<std::uint8_t>(c) & 0xDF);
  return number;
}
inline constexpr auto kFoldedVerbs = [] {
  std::array<std::uint64_t, kCommandTable.size()> verbs{};
  for (std::size_t i = 0; i < verbs.size(); ++i) verbs[i] = folded(kCommandTable[i].verb);
  return verbs;
}();
static_assert([] {
  for (const CommandRow& command : kCommandTable) {
    if (command.verb.size() > kVerbBytesMax) return false;
  }
  return true;
}());

constexpr const CommandRow& row_of(std::string_view verb) {
  for (const CommandRow& command : kCommandTable) {
    if (command.verb == verb) return command;
  }
  return kUnknownRow;
}

// The reply to a command that its row does not allow in `state`.
constexpr ReplyId out_of_order(const CommandRow& command, State state) {
  if (state == State::kConnected) return replies::kNeedHello;
  if ((command.states & in(State::kGreeted)) != 0) return replies::kNestedMail;
  if (state == State::kChunks) return replies::kMessageBegun;
  if (state == State::kSender) return replies::kNoValidRecipients;
  return replies::kNeedMail;
}

}  // namespace mxring::smtp
