// The table of replies, and the door through which they are said.
#include "smtp/reply.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "smtp/command_table.h"
#include "smtp/reply_buffer.h"

namespace mxring::smtp {
namespace {

// RFC 5321 4.2, RFC 3463: the first digit of the enhanced code is that of the code; printable
// ASCII; a line of 512 octets at most.
TEST(Reply, TheTableIsWellFormed) {
  for (const ReplyRow& candidate : kReplies) {
    SCOPED_TRACE(candidate.line);
    const Reply reply(candidate.id);
    EXPECT_EQ(to_text(reply), candidate.line);
    EXPECT_GE(reply.code(), 200U);
    EXPECT_LT(reply.code(), 600U);
    EXPECT_LE(candidate.line.size() + 2, kReplyLineBytesMax);
    EXPECT_FALSE(reply.text().empty());
    for (const char c : candidate.line) EXPECT_TRUE(c >= ' ' && c <= '~');
    if (reply.codes().size() > 3) {
      EXPECT_EQ(reply.codes()[4], reply.codes()[0]);
    } else {
      EXPECT_LT(reply.code(), 400U) << "a refusal has an enhanced code";
    }
    EXPECT_EQ(reply.is_refusal(), reply.is_temporary() || reply.is_permanent());
  }
}

struct Heard final : ReplyListener {
  void said(const Reply& reply, Stage stage) override {
    texts.push_back(to_text(reply));
    stages.push_back(stage);
  }
  std::vector<std::string> texts;
  std::vector<Stage> stages;
};

TEST(ReplyBuffer, TellsOfEachReplyOnce) {
  Heard heard;
  char memory[2 * kReplyBytesMax];
  ReplyBuffer out(memory, &heard);
  out.say(replies::kBye, Stage::kCommand);
  out.say(Reply(replies::kAccepted).with("Ok 7"), Stage::kMessage);
  out.say_lines(replies::kHello, Stage::kHello, "250-a\r\n250 b\r\n");
  EXPECT_EQ(out.text(), "221 2.0.0 Bye\r\n250 2.0.0 Ok 7\r\n250-a\r\n250 b\r\n");
  EXPECT_EQ(heard.texts,
            (std::vector<std::string>{"221 2.0.0 Bye", "250 2.0.0 Ok 7", "250 Hello"}));
  EXPECT_EQ(heard.stages, (std::vector{Stage::kCommand, Stage::kMessage, Stage::kHello}));
}

TEST(ReplyBuffer, ALineHas512OctetsAtMost) {
  char memory[kReplyBytesMax];
  ReplyBuffer out(memory);
  const std::string text(2000, 'x');
  out.say(Reply(replies::kDmarcReject).with(text), Stage::kMessage);
  EXPECT_EQ(out.size(), kReplyLineBytesMax);
  EXPECT_TRUE(out.text().starts_with("550 5.7.26 xxx"));
  EXPECT_TRUE(out.text().ends_with("x\r\n"));
}

TEST(Reply, EveryStageHasAWordOfItsOwn) {
  std::vector<std::string> words;
  for (int i = 0; i <= static_cast<int>(Stage::kCommand); ++i) {
    words.emplace_back(word(static_cast<Stage>(i)));
  }
  std::sort(words.begin(), words.end());
  EXPECT_EQ(std::unique(words.begin(), words.end()), words.end());
}

}  // namespace
}  // namespace mxring::smtp
