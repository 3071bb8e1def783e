// On a kept-alive connection nothing is allocated after the first message (the design's budget for
// the event path), counted by replacing the global operator new.
#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "smtp/session.h"
#include "tests/support/allocation_count.h"

namespace mxring::smtp {
namespace {

void play(Session& session, std::string_view bytes) {
  char memory[2 * kReplyBytesMax];
  ReplyBuffer out(memory);
  for (;;) {
    const Step step = session.step({bytes, false}, out);
    bytes.remove_prefix(step.consumed);
    switch (step.event) {
      case Event::kMail:
      case Event::kRecipient:
      case Event::kData:
        session.accept(out);
        break;
      case Event::kMessage:
        session.finish(replies::kAccepted, out);
        break;
      case Event::kNeedInput:
        return;
      default:
        break;
    }
  }
}

void transaction(Session& session, bool straddling) {
  play(session, "MAIL FROM:<someone.with.a.longer.name@client.example> SIZE=100 BODY=8BITMIME\r\n");
  if (straddling) {
    play(session, "RCPT TO:<first.recipient");
    play(session, "@mx.example>\r\n");
  }
  play(session, "RCPT TO:<second.recipient@mx.example> NOTIFY=NEVER\r\nDATA\r\n");
  play(session, "Subject: x\r\n\r\n..stuffed\r\n");
  play(session, "more\r\n.\r\n");
}

TEST(Allocations, NoneAfterTheFirstMessage) {
  const SessionOptions options{.hostname = "mx.example", .limits = {}, .leniency = {}};
  Session session(options);
  play(session, "EHLO client.example\r\n");
  for (const bool straddling : {false, true}) {
    transaction(session, straddling);
    const std::uint64_t before = test::allocation_count();
    for (int i = 0; i < 100; ++i) transaction(session, straddling);
    EXPECT_EQ(test::allocation_count(), before)
        << (straddling ? "lines that straddle inputs" : "whole lines");
  }
  EXPECT_EQ(session.messages(), 202U);
  EXPECT_GT(test::allocation_count(), 0U);
}

}  // namespace
}  // namespace mxring::smtp
