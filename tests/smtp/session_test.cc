#include "smtp/session.h"

#include <gtest/gtest.h>

#include <random>

#include "smtp/command_table.h"
#include "tests/smtp/session_player.h"

namespace mxring::smtp {
namespace {

// Views into an object that dies at the end of the expression do not compile.
template <class T>
concept HandsOutViewsWhenTemporary = requires(T&& t) {
  std::move(t).reverse_path();
}
|| requires(T&& t) {
  std::move(t).envelope_id();
}
|| requires(T&& t) {
  std::move(t).recipient(0);
}
|| requires(T&& t) {
  std::move(t).helo();
}
|| requires(T&& t) {
  std::move(t).envelope();
}
|| requires(T&& t) {
  std::move(t).data();
}
|| requires(T&& t) {
  std::move(t).offered_recipient();
};
static_assert(!HandsOutViewsWhenTemporary<Envelope>);
static_assert(!HandsOutViewsWhenTemporary<Session>);
static_assert(!std::is_constructible_v<Session, SessionOptions>, "options must outlive a session");
static_assert(std::is_constructible_v<Session, const SessionOptions&>);
template <class Text>
concept ParsesCommandFrom = requires(Text text) {
  parse_command(std::forward<Text>(text));
};
static_assert(!ParsesCommandFrom<std::string&&>);
static_assert(ParsesCommandFrom<std::string&> && ParsesCommandFrom<const char*>);
static_assert(sizeof(Session) <= 512);

SessionOptions options() {
  return {.hostname = "mx.example", .limits = {}, .leniency = {}, .starttls = true};
}

void enter(SessionPlayer& player, State state) {
  player.greet();
  if (state != State::kConnected) player.play("EHLO client.example\r\n");
  if (state >= State::kSender) player.play("MAIL FROM:<a@client.example>\r\n");
  if (state >= State::kRecipients) player.play("RCPT TO:<b@mx.example>\r\n");
  if (state == State::kChunks) player.play("BDAT 3\r\nx\r\n");
  player.take_replies();
}

State state_of(const Session& session) {
  if (session.message_open() && !session.receiving()) return State::kChunks;
  if (session.in_transaction()) {
    return session.envelope().recipients() == 0 ? State::kSender : State::kRecipients;
  }
  return session.helo().empty() ? State::kConnected : State::kGreeted;
}

struct Sample {
  const CommandRow& row;
  std::string_view line;
  std::string_view reply;  // the beginning of the reply where the command is allowed
};

constexpr Sample kSamples[] = {
    {row_of("EHLO"), "EHLO client.example", "250-mx.example\r\n"},
    {row_of("HELO"), "HELO client.example", "250 mx.example\r\n"},
    {row_of("MAIL"), "MAIL FROM:<a@client.example>", "250 2.1.0"},
    {row_of("RCPT"), "RCPT TO:<b@mx.example>", "250 2.1.5"},
    {row_of("DATA"), "DATA", "354 "},
    {row_of("BDAT"), "BDAT 0 LAST", "250 2.0.0"},
    {row_of("RSET"), "RSET", "250 2.0.0"},
    {row_of("NOOP"), "NOOP", "250 2.0.0"},
    {row_of("VRFY"), "VRFY x", "252 2.0.0"},
    {row_of("HELP"), "HELP", "214 2.0.0"},
    {row_of("XCLIENT"), "XCLIENT NAME=a.example", "550 5.7.0"},
    {row_of("QUIT"), "QUIT", "221 2.0.0"},
    {row_of("STARTTLS"), "STARTTLS", "220 2.0.0"},
    {kNotOfferedRow, "AUTH PLAIN", "502 5.5.1"},
    {kHttpRow, "GET / HTTP/1.1", "554 5.5.0"},
    {kUnknownRow, "XYZZY", "500 5.5.1"},
};
static_assert(std::size(kSamples) == kCommandTable.size() + 3);

State expected_state(std::string_view verb, State before) {
  if (verb == "EHLO" || verb == "HELO" || verb == "BDAT") return State::kGreeted;
  if (verb == "MAIL") return State::kSender;
  if (verb == "RCPT") return State::kRecipients;
  if (verb == "STARTTLS") return State::kConnected;  // everything is forgotten
  if (verb == "RSET" && before != State::kConnected) return State::kGreeted;
  return before;
}

TEST(CommandTable, EveryCommandInEveryState) {
  const SessionOptions session_options = options();
  for (const Sample& sample : kSamples) {
    const CommandRow& command_row = sample.row;
    ASSERT_EQ(&find_command(sample.line), &command_row) << sample.line;
    if (!command_row.verb.empty()) {
      EXPECT_TRUE(sample.line.starts_with(command_row.verb));
    }
    EXPECT_FALSE(command_row.section.empty());
    for (std::size_t i = 0; i < kStates; ++i) {
      const auto state = static_cast<State>(i);
      SCOPED_TRACE(std::string(sample.line) + " in state " + std::to_string(i));
      SessionPlayer player(session_options, {});
      enter(player, state);
      ASSERT_EQ(state_of(player.session()), state);
      player.play(std::string(sample.line) + "\r\n");
      const std::string reply = player.take_replies();
      if ((command_row.states & in(state)) == 0) {
        EXPECT_EQ(reply, to_text(out_of_order(command_row, state)) + "\r\n");
        EXPECT_EQ(state_of(player.session()), state);
        continue;
      }
      EXPECT_TRUE(reply.starts_with(sample.reply)) << reply;
      EXPECT_EQ(state_of(player.session()), expected_state(command_row.verb, state));
      EXPECT_EQ(player.session().receiving(), command_row.verb == "DATA");
    }
  }
}

TEST(CommandTable, ArgumentFlagsInEveryAllowedState) {
  const SessionOptions session_options = options();
  for (const CommandRow& command_row : kCommandTable) {
    if (command_row.verb.empty()) continue;
    for (std::size_t i = 0; i < kStates; ++i) {
      const auto state = static_cast<State>(i);
      if ((command_row.states & in(state)) == 0) continue;
      SessionPlayer player(session_options, {});
      enter(player, state);
      const bool forbidden = (command_row.flags & kArgumentForbidden) != 0;
      const bool required = (command_row.flags & kArgumentRequired) != 0;
      if (!forbidden && !required) continue;
      player.play(std::string(command_row.verb) + (forbidden ? " argument\r\n" : "\r\n"));
      EXPECT_TRUE(player.take_replies().starts_with("501 5.5.4 ")) << command_row.verb;
      EXPECT_EQ(state_of(player.session()), state);
    }
  }
}

// A hundred RCPTs in one group, half of them bad in three ways, answered in order at any cut.
TEST(Session, HundredPipelinedRecipients) {
  SessionOptions session_options = options();
  session_options.limits.errors_soft = session_options.limits.errors_hard = 1000;
  OwnerPolicy policy;
  std::string group = "MAIL FROM:<a@client.example>\r\n";
  std::string wanted = "250 2.1.0 Ok\r\n";
  for (int i = 0; i < 100; ++i) {
    const std::string name = "user" + std::to_string(i);
    if (i % 2 == 0) {
      group += "RCPT TO:<" + name + "@mx.example>\r\n";
      wanted += "250 2.1.5 Ok\r\n";
    } else if (i % 4 == 1) {
      policy.refuse_rcpt[name + "@mx.example"] = "550 5.7.1 No " + name;
      group += "RCPT TO:<" + name + "@mx.example>\r\n";
      wanted += "550 5.7.1 No " + name + "\r\n";
    } else {
      group += "RCPT TO:<" + name + "@>\r\n";
      wanted += "501 5.1.3 Bad recipient address syntax\r\n";
    }
  }
  group += "DATA\r\n";
  wanted += "354 End data with <CR><LF>.<CR><LF>\r\n";
  const auto play = [&](const std::vector<std::string_view>& pieces) {
    SessionPlayer player(session_options, policy, kReplyBytesMax + 100);
    player.play("EHLO client.example\r\n");
    player.take_replies();
    player.play(pieces);
    ASSERT_EQ(player.take_replies(), wanted);
    player.play("x\r\n.\r\n");
    ASSERT_EQ(player.transcript().messages.size(), 1U);
    ASSERT_EQ(player.transcript().messages[0].rcpt_to.size(), 50U);
  };
  play({group});
  play(cut_every(group, 1));
  for (std::size_t cut = 1; cut < group.size(); ++cut) {
    ASSERT_NO_FATAL_FAILURE(
        play({std::string_view(group).substr(0, cut), std::string_view(group).substr(cut)}));
  }
}

TEST(Session, EarlyTalkerIsRefusedAndClosed) {
  const SessionOptions session_options = options();
  Session session(session_options);
  char memory[kReplyBytesMax];
  ReplyBuffer out(memory);
  session.refuse_early_talker(out);
  EXPECT_EQ(out.text(), "554 5.5.0 You spoke before the banner\r\n");
  EXPECT_TRUE(session.closed());
  EXPECT_EQ(session.step({"EHLO x\r\n", false}, out).event, Event::kClose);
}

TEST(Session, MoreBehindTheInputCountsAsEarlyData) {
  const SessionOptions session_options = options();
  SessionPlayer player(session_options, {});
  enter(player, State::kRecipients);
  char memory[kReplyBytesMax];
  ReplyBuffer out(memory);
  EXPECT_EQ(player.session().step({"DATA\r\n", true}, out).event, Event::kClose);
  EXPECT_EQ(out.text(), "554 5.5.0 Data sent before 354\r\n");
}

TEST(Session, TerminatesInEveryPhase) {
  const SessionOptions session_options = options();
  for (const std::string_view sent :
       {"", "EHLO x.example\r\nMAIL", "EHLO x.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"}) {
    for (const bool data : {false, true}) {
      SessionPlayer player(session_options, {});
      player.play(sent);
      if (data && player.session().in_transaction()) {
        player.play("DATA\r\n");
        player.play("some content\r\n.");
        EXPECT_TRUE(player.session().receiving());
      }
      char memory[kReplyBytesMax];
      ReplyBuffer out(memory);
      player.session().terminate(replies::kDraining, out);
      EXPECT_EQ(out.text(), to_text(replies::kDraining) + "\r\n");
      player.session().terminate(replies::kDraining, out);
      EXPECT_EQ(out.text(), to_text(replies::kDraining) + "\r\n") << "said twice";
      EXPECT_EQ(player.session().step({"x", false}, out).event, Event::kClose);
      char tiny[4];
      ReplyBuffer full(tiny);
      player.session().terminate(replies::kDraining, full);
      EXPECT_EQ(full.size(), 0U);
    }
  }
}

// The reply to a message may come after other input has arrived.
TEST(Session, WaitsForTheAnswerWithoutConsuming) {
  const SessionOptions session_options = options();
  SessionPlayer player(session_options, {});
  enter(player, State::kRecipients);
  player.play("DATA\r\n");
  Session& session = player.session();
  std::vector<char> memory(4 * kReplyBytesMax);
  ReplyBuffer out(memory);
  std::string_view input = "x\r\n.\r\nMAIL FROM:<>\r\nQUIT\r\n";
  Step step = session.step({input, false}, out);
  ASSERT_EQ(step.event, Event::kContent);
  input.remove_prefix(step.consumed);
  step = session.step({input, false}, out);
  ASSERT_EQ(step.event, Event::kMessage);
  input.remove_prefix(step.consumed);
  for (int i = 0; i < 3; ++i) {
    step = session.step({input, false}, out);
    EXPECT_EQ(step.event, Event::kWaiting);
    EXPECT_EQ(step.consumed, 0U);
    EXPECT_TRUE(session.waiting());
    EXPECT_TRUE(session.in_transaction());
  }
  session.finish(Reply(replies::kAccepted).with("Ok 7"), out);
  EXPECT_FALSE(session.in_transaction());
  step = session.step({input, false}, out);
  EXPECT_EQ(step.event, Event::kMail);
  EXPECT_EQ(session.messages(), 1U);
}

TEST(Session, TheFirstReasonToDiscardStays) {
  const SessionOptions session_options = options();
  for (const bool fault_first : {false, true}) {
    SessionPlayer player(session_options, {});
    enter(player, State::kRecipients);
    player.play("DATA\r\n");
    player.take_replies();
    if (fault_first) player.play("a\nb");
    player.session().discard(replies::kMemoryLow);
    player.session().discard(replies::kHeaderTooLarge);
    player.play("c\rd\r\n.\r\n");
    EXPECT_EQ(player.take_replies(),
              to_text(fault_first ? replies::kBareLf : replies::kMemoryLow) + "\r\n");
    EXPECT_EQ(player.transcript().refused, 1U);
    EXPECT_FALSE(player.session().in_transaction());
  }
}

TEST(Session, StopsWithoutRoomForAReply) {
  const SessionOptions session_options = options();
  Session session(session_options);
  char memory[kReplyBytesMax];
  ReplyBuffer out(memory);
  Step step = session.step({"NOOP\r\nNOOP\r\n", false}, out);
  EXPECT_EQ(step.event, Event::kOutputFull);
  EXPECT_EQ(step.consumed, 6U);
  EXPECT_EQ(out.text(), "250 2.0.0 Ok\r\n");
  ReplyBuffer fresh(memory);
  step = session.step({"NOOP\r\n", false}, fresh);
  EXPECT_EQ(step.event, Event::kNeedInput);
}

// A line inside one input is parsed where it lies; only one that straddles two is copied.
TEST(Session, CountsTheBytesItCopies) {
  const SessionOptions session_options = options();
  SessionPlayer player(session_options, {});
  player.play("EHLO client.example\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n");
  EXPECT_EQ(player.session().line_bytes_copied(), 0U);
  EXPECT_FALSE(player.session().has_partial_line());
  player.play("NOO");
  EXPECT_TRUE(player.session().has_partial_line());
  player.play("P\r\n");
  EXPECT_FALSE(player.session().has_partial_line());
  EXPECT_EQ(player.session().line_bytes_copied(), 6U);
  EXPECT_EQ(player.session().commands(), 4U);
}

// After the worst that a client may do, an idle session holds about 1 KiB.
TEST(Session, IdleMemoryIsSmall) {
  const SessionOptions session_options = options();
  SessionPlayer player(session_options, {});
  player.play("EHLO " + std::string(63, 'x') + "." + std::string(63, 'x') + "\r\n");
  const std::string parameter = " ORCPT=rfc822;" + std::string(480, 'x');
  player.play("MAIL FROM:<a@b>\r\n");
  for (int i = 0; i < 300; ++i) {
    const std::string line = "RCPT TO:<user" + std::to_string(i) + "@mx.example>" + parameter;
    player.play({std::string_view(line), std::string_view("\r\n")});
  }
  EXPECT_GT(player.session().memory_bytes(), 100'000U);
  player.play("DATA\r\n");
  player.play("x\r\n.\r\n");
  player.play("NOOP " + std::string(400, 'x'));
  player.play("\r\n");
  EXPECT_LE(player.session().memory_bytes(), 1100U);
  ASSERT_EQ(player.transcript().messages.size(), 1U);
}

// Random commands, content and garbage in random pieces against the same in one piece per group.
TEST(Session, RandomDialoguesDoNotDependOnSplits) {
  SessionOptions session_options = options();
  session_options.limits.errors_hard = 50;
  const std::vector<std::string> lines{"EHLO client.example\r\n",
                                       "HELO x\r\n",
                                       "MAIL FROM:<a@b>\r\n",
                                       "MAIL FROM:<> SIZE=7\r\n",
                                       "RCPT TO:<c@d>\r\n",
                                       "RCPT TO:<bad\r\n",
                                       "RSET\r\n",
                                       "NOOP\n",
                                       "x\r\n",
                                       "\r\n",
                                       "..\r\n",
                                       ".\r\n",
                                       "a\rb\r\n",
                                       std::string("a\0b\r\n", 5),
                                       std::string(700, 'x') + "\r\n",
                                       "NOOP\r\r\n"};
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    SessionPlayer whole(session_options, {});
    SessionPlayer cut(session_options, {}, kReplyBytesMax + 64);
    for (int group = 0; group < 12; ++group) {
      std::string sent;
      for (auto i = random() % 6; i > 0; --i) sent += lines[random() % lines.size()];
      if (random() % 3 == 0) sent += "DATA\r\n";
      std::vector<std::string_view> pieces;
      for (std::string_view rest = sent; !rest.empty();) {
        const std::size_t size = 1 + random() % std::min<std::size_t>(rest.size(), 9);
        pieces.push_back(rest.substr(0, size));
        rest.remove_prefix(size);
      }
      whole.play(sent);
      cut.play(pieces);
      ASSERT_EQ(whole.take_replies(), cut.take_replies()) << testing::PrintToString(sent);
    }
    ASSERT_EQ(whole.transcript().messages, cut.transcript().messages);
    ASSERT_EQ(whole.transcript().closed, cut.transcript().closed);
  }
}

}  // namespace
}  // namespace mxring::smtp
