// Every dialogue is played whole (one input per group of lines), in pieces of one byte, cut at
// every byte position, and with a reply buffer so small that the session has to stop for output:
// the replies, envelopes and messages must be the same each time.
#include "tests/smtp/dialogue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace mxring::smtp {
namespace {

std::filesystem::path dialogue_folder() {
  return std::filesystem::path(MXRING_TEST_DATA) / "dialogues";
}

std::vector<std::string> dialogue_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dialogue_folder())) {
    if (entry.path().extension() == ".txt") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

using Cut = std::function<std::vector<std::string_view>(std::string_view sent, std::size_t turn)>;

// Plays all turns. Stops at the first difference.
void play(const Dialogue& dialogue, const Cut& cut, std::size_t output_bytes) {
  SessionPlayer player(dialogue.options, dialogue.policy, output_bytes);
  player.greet();
  for (std::size_t i = 0; i < dialogue.turns.size(); ++i) {
    const Dialogue::Turn& turn = dialogue.turns[i];
    if (!turn.sent.empty()) player.play(cut(turn.sent, i));
    ASSERT_EQ(player.take_replies(), turn.replies) << "to " << testing::PrintToString(turn.sent);
    ASSERT_EQ(player.transcript().closed, turn.closed);
  }
  ASSERT_EQ(player.said_by_code(), replies_by_code(player.transcript().replies));
  Transcript got = player.transcript();
  got.replies.clear();
  got.closed = false;
  ASSERT_EQ(got.messages.size(), dialogue.expected.messages.size());
  for (std::size_t i = 0; i < got.messages.size(); ++i) {
    const ReceivedMessage& wanted = dialogue.expected.messages[i];
    ASSERT_EQ(got.messages[i].mail_from, wanted.mail_from);
    ASSERT_EQ(got.messages[i].rcpt_to, wanted.rcpt_to);
    ASSERT_EQ(got.messages[i].parameters, wanted.parameters);
    ASSERT_EQ(got.messages[i].content, wanted.content);
  }
  ASSERT_EQ(got.refused, dialogue.expected.refused);
  ASSERT_EQ(got.discards, dialogue.expected.discards);
  ASSERT_EQ(got.resets, dialogue.expected.resets);
  ASSERT_EQ(got.slow, dialogue.expected.slow);
}

std::vector<std::string_view> whole(std::string_view sent, std::size_t) {
  return {sent};
}

constexpr std::size_t kPlentyOfOutput = 1U << 18;

class DialogueTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    dialogue_ = read_dialogue(dialogue_folder() / (GetParam() + ".txt"));
    ASSERT_EQ(dialogue_.error, "");
    ASSERT_GT(dialogue_.turns.size(), 1U);
  }
  Dialogue dialogue_;
};

TEST_P(DialogueTest, Whole) {
  play(dialogue_, whole, kPlentyOfOutput);
}

TEST_P(DialogueTest, ByteByByte) {
  play(
      dialogue_, [](std::string_view sent, std::size_t) { return cut_every(sent, 1); },
      kPlentyOfOutput);
}

TEST_P(DialogueTest, SmallOutput) {
  play(dialogue_, whole, kReplyBytesMax + 40);
}

TEST_P(DialogueTest, CutAtEveryByte) {
  for (std::size_t turn = 0; turn < dialogue_.turns.size(); ++turn) {
    const std::size_t size = dialogue_.turns[turn].sent.size();
    for (std::size_t at = 1; at < size; ++at) {
      // A line of 64 KiB is cut everywhere near its ends and now and then in between.
      if (size > 8192 && at > 1200 && at + 1200 < size && at % 997 != 0) continue;
      const auto cut = [&](std::string_view sent, std::size_t i) {
        if (i != turn) return std::vector<std::string_view>{sent};
        return std::vector<std::string_view>{sent.substr(0, at), sent.substr(at)};
      };
      ASSERT_NO_FATAL_FAILURE(play(dialogue_, cut, kPlentyOfOutput))
          << "turn " << turn << " cut at " << at;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Smtp, DialogueTest, testing::ValuesIn(dialogue_names()),
                         [](const auto& name) { return name.param; });

}  // namespace
}  // namespace mxring::smtp
