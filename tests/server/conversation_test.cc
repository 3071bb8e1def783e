// A conversation in every phase and hold, every way of giving up, and the way to a closed
// connection. No sockets: see shard_parts.h.
#include "server/conversation.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "server/journal.h"
#include "smtp/reply.h"
#include "tests/server/shard_parts.h"
#include "tests/support/broken_invariant.h"

namespace mxring::server {
namespace {

using Hold = Conversation::Hold;
using Pause = Conversation::Pause;
using Phase = Conversation::Phase;
using test::Peer;
using test::ShardParts;

constexpr std::string_view kEnvelope =
    "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.test>\r\n";
constexpr std::string_view kMessage = "From: a@c.example\r\n\r\nhi\r\n";
constexpr std::int64_t kSecond = base::kNsPerSecond;

bool has(std::string_view text, std::string_view part) {
  return text.contains(part);
}

TEST(Conversation, AMessageFromBannerToReply) {
  ShardParts shard;
  Peer& peer = shard.connect();
  EXPECT_EQ(peer.heard, "220 mx.test ESMTP mxring\r\n");
  shard.say(peer, std::string(kEnvelope) + "DATA\r\n");
  EXPECT_TRUE(has(peer.heard, "\r\n354 ")) << peer.heard;
  EXPECT_EQ(shard.say(peer, std::string(kMessage) + ".\r\n"), "");
  EXPECT_EQ(shard.of(peer).hold(), Hold::kCommit);
  EXPECT_EQ(shard.memory->receiving(), 0U);
  shard.decide(CommitOutcome::kDurable);
  EXPECT_EQ(peer.heard, "250 2.0.0 Ok 0\r\n");
  EXPECT_EQ(shard.of(peer).hold(), Hold::kNone);
}

TEST(Conversation, EveryOutcomeOfACommitHasItsReply) {
  ShardParts shard;
  Peer& peer = shard.connect();
  shard.say(peer, "EHLO c.example\r\n");
  for (const auto& [outcome, reply] : std::vector<std::pair<CommitOutcome, std::string>>{
           {CommitOutcome::kDurable, "250 2.0.0"},
           {CommitOutcome::kNoSpace, "452 4.3.1"},
           {CommitOutcome::kNoResources, "451 4.3.0"},
           {CommitOutcome::kFailed, "451 4.3.0"}}) {
    shard.say(peer, "MAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.test>\r\n");
    shard.say(peer, "DATA\r\n");
    shard.say(peer, std::string(kMessage) + ".\r\n");
    shard.decide(outcome);
    EXPECT_EQ(peer.heard.substr(0, 9), reply);
  }
}

TEST(Conversation, NothingIsParsedWhileACommitIsWaitedFor) {
  ShardParts shard;
  Peer& peer = shard.at_data();
  EXPECT_EQ(shard.say(peer, std::string(kMessage) + ".\r\nNOOP\r\n"), "");
  for (std::size_t i = 1; i < Conversation::kChunksMax; ++i) shard.say(peer, "NOOP\r\n");
  EXPECT_EQ(peer.heard, "");
  EXPECT_TRUE(shard.of(peer).pauses().has(Pause::kChunks));
  EXPECT_FALSE(peer.receiving);
  shard.decide(CommitOutcome::kDurable);
  EXPECT_TRUE(peer.heard.starts_with("250 2.0.0 Ok 0\r\n250 2.0.0 Ok\r\n")) << peer.heard;
  EXPECT_TRUE(shard.of(peer).pauses().empty());
  EXPECT_TRUE(peer.receiving);
}

TEST(Conversation, NothingIsParsedWhileAVerdictIsWaitedFor) {
  ShardParts shard({.checks = true});
  Peer& peer = shard.at_data();
  EXPECT_EQ(shard.say(peer, std::string(kMessage) + ".\r\nNOOP\r\n"), "");
  EXPECT_EQ(shard.of(peer).hold(), Hold::kVerdict);  // SPF's answer does not come
  EXPECT_EQ(shard.memory->receiving(), 1U);
  shard.pass(shard.config.limits.dns_time_ns + kSecond);
  EXPECT_EQ(shard.of(peer).hold(), Hold::kCommit);
  EXPECT_EQ(shard.checks->live(), 0U);
  shard.decide(CommitOutcome::kDurable);
  EXPECT_EQ(peer.heard, "250 2.0.0 Ok 0\r\n250 2.0.0 Ok\r\n");
}

TEST(Conversation, AClientThatReadsNoRepliesIsNotParsedAndLeavesItsBytesInTheKernel) {
  ShardParts shard({.adjust = [](Config& c) { c.limits.commands_without_mail = 100'000; }});
  Peer& peer = shard.connect();
  peer.reads = false;
  std::string noops;
  for (int i = 0; i < 1000; ++i) noops += "NOOP\r\n";
  for (int i = 0; i < 20 && peer.receiving; ++i) {
    shard.arrive(peer, noops.substr(0, 4096));
    shard.turn();
  }
  EXPECT_FALSE(peer.receiving);
  EXPECT_EQ(shard.of(peer).hold(), Hold::kOutput);
  EXPECT_TRUE(shard.of(peer).pauses().has(Pause::kChunks));
  EXPECT_LE(shard.of(peer).held().sum(), 64U * 1024);
  // It reads again before its time is up: everything is answered.
  const std::uint64_t before = shard.count(obs::Counter::kCommands);
  peer.reads = true;
  shard.sent(peer, static_cast<std::int32_t>(peer.send_bytes));
  shard.turn();
  EXPECT_GT(shard.count(obs::Counter::kCommands), before + 1000);
  EXPECT_EQ(shard.of(peer).hold(), Hold::kNone);
}

TEST(Conversation, AClientThatNeverReadsIsLetGo) {
  ShardParts shard;
  Peer& peer = shard.connect();
  peer.reads = false;
  std::string hellos;
  for (int i = 0; i < 400; ++i) hellos += "EHLO c.example\r\n";
  shard.arrive(peer, hellos);
  shard.turn();
  EXPECT_EQ(shard.of(peer).hold(), Hold::kOutput);
  shard.pass(shard.config.limits.command_wait_ns + kSecond);
  EXPECT_TRUE(peer.freed);
  EXPECT_EQ(shard.buffers->held_buffers(), 0U);
}

TEST(Conversation, ErrorsSlowItDownUntilTheTimer) {
  ShardParts shard;
  Peer& peer = shard.connect();
  std::string wrong;
  for (std::uint32_t i = 0; i < shard.config.limits.errors_soft; ++i) wrong += "FOO\r\n";
  shard.say(peer, wrong + "NOOP\r\n");
  EXPECT_EQ(shard.of(peer).hold(), Hold::kSlowed);
  EXPECT_FALSE(has(peer.heard, "250"));
  peer.heard.clear();
  shard.pass(shard.config.limits.error_delay_ns + kSecond);
  EXPECT_EQ(peer.heard, "250 2.0.0 Ok\r\n");
  EXPECT_EQ(shard.of(peer).hold(), Hold::kNone);
}

TEST(Conversation, QuitAfterOtherCommandsClosesAtOnce) {
  for (const std::string_view said :
       {"QUIT\r\n", "NOOP\r\nQUIT\r\n", "NOOP\r\nFOO\r\nQUIT\r\nX\r\n"}) {
    ShardParts shard;
    Peer& peer = shard.connect();
    shard.say(peer, said);
    EXPECT_TRUE(peer.heard.ends_with("221 2.0.0 Bye\r\n")) << said;
    EXPECT_TRUE(peer.freed) << said;
  }
}

TEST(Conversation, AfterItsLastWordsItLingersUntilThePeerClosesOrTheTimer) {
  for (const bool closes : {true, false}) {
    ShardParts shard;
    Peer& peer = shard.connect();
    shard.pass(shard.config.limits.command_wait_ns + kSecond);
    EXPECT_TRUE(has(peer.heard, "421 4.4.2 Timed out")) << peer.heard;
    ASSERT_EQ(shard.of(peer).phase(), Phase::kLingering);
    shard.arrive(peer, "NOOP\r\n");  // comes too late, and is dropped
    shard.turn();
    EXPECT_EQ(shard.buffers->held_buffers(), 0U);
    EXPECT_FALSE(peer.freed);
    if (closes) {
      shard.receive_ends(peer, 0);
      shard.turn();
    } else {
      shard.pass(Conversation::kLingerNs + kSecond);
    }
    EXPECT_TRUE(peer.freed);
  }
}

TEST(Conversation, WhoSpeaksBeforeTheBannerIsSentAway) {
  ShardParts shard;
  Peer& peer = shard.connect("192.0.2.1", true);
  EXPECT_EQ(peer.heard.substr(0, 9), "554 5.5.0");
  EXPECT_EQ(shard.of(peer).phase(), Phase::kLingering);
}

TEST(Conversation, TheEndOfAPeerIsSeenWhenItsLastCommandIsAnswered) {
  ShardParts shard;
  Peer& peer = shard.connect();
  shard.arrive(peer, "NOOP\r\n");
  shard.receive_ends(peer, 0);
  shard.turn();
  EXPECT_TRUE(has(peer.heard, "250 2.0.0 Ok"));
  EXPECT_TRUE(peer.freed);
}

TEST(Conversation, ASlowSenderIsToldSo) {
  ShardParts shard;
  Peer& peer = shard.at_data();
  shard.say(peer, "From: a@c.example\r\n\r\n");
  for (int i = 0; i < 80 && peer.heard.empty(); ++i) {
    shard.arrive(peer, "x");
    shard.pass(kSecond);
  }
  EXPECT_TRUE(has(peer.heard, "421 4.4.2 Data arrives too slowly")) << peer.heard;
}

TEST(Conversation, AMessageMayPauseForMinutes) {
  ShardParts shard;
  Peer& peer = shard.at_data();
  shard.say(peer, "From: a@c.example\r\n\r\n");
  for (int i = 0; i < 29; ++i) shard.pass(10 * kSecond);
  EXPECT_EQ(peer.heard, "");
  shard.say(peer, "x\r\n");
  for (int i = 0; i < 35 && peer.heard.empty(); ++i) shard.pass(10 * kSecond);
  EXPECT_TRUE(has(peer.heard, "421 4.4.2 Timed out waiting for the message")) << peer.heard;
}

// Also one that nobody wants, after a dialogue with long silences.
TEST(Conversation, AChunkThatIsRefusedMayPauseForMinutes) {
  ShardParts shard;
  Peer& peer = shard.connect();
  for (int i = 0; i < 4; ++i) {
    shard.say(peer, i == 0 ? "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n" : "NOOP\r\n");
    for (int j = 0; j < 20; ++j) shard.pass(10 * kSecond);
  }
  peer.heard.clear();
  shard.say(peer, "BDAT 10\r\n12345");
  for (int i = 0; i < 29; ++i) shard.pass(10 * kSecond);
  EXPECT_EQ(peer.heard, "");
  shard.say(peer, "67890");
  EXPECT_TRUE(peer.heard.starts_with("554 5.5.1 No valid recipients")) << peer.heard;
}

// Each byte of a command line starts no new wait; while something is short the line has less time.
TEST(Conversation, ACommandHasItsTimeFromItsFirstByte) {
  for (const bool is_short : {false, true}) {
    ShardParts shard;
    Peer& peer = shard.connect();
    shard.context->connections_short = is_short;
    peer.heard.clear();  // the banner
    int seconds = 0;
    for (; seconds < 400 && peer.heard.empty(); ++seconds) {
      shard.arrive(peer, "x");
      shard.pass(kSecond);
    }
    EXPECT_TRUE(has(peer.heard, "421 4.4.2 Timed out waiting for a command")) << peer.heard;
    EXPECT_GE(seconds, is_short ? 59 : 299);
    EXPECT_LE(seconds, is_short ? 64 : 304);
  }
}

// What is sent in chunks holds what it sent until RSET.
TEST(Conversation, RsetInTheMiddleOfChunksLetsGoOfTheMessage) {
  ShardParts shard;
  Peer& peer = shard.connect();
  shard.say(peer, "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\n");
  shard.say(peer, "BDAT 5\r\nFrom:BDAT 3\r\n a\r");
  EXPECT_TRUE(peer.heard.ends_with("250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n")) << peer.heard;
  shard.say(peer, "RSET\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
  EXPECT_TRUE(peer.heard.ends_with("250 2.0.0 Ok\r\n503 5.5.1 MAIL first\r\n250 2.0.0 Ok\r\n"))
      << peer.heard;
  EXPECT_EQ(shard.of(peer).message_bytes(), 0U);
}

// The last octet of a chunk may come alone, and so may the one that makes the content faulty.
TEST(Conversation, ChunksComeInPiecesOfAnySize) {
  constexpr std::string_view kGood = "BDAT 11\r\nFrom: a@b.cBDAT 4 LAST\r\n\r\n\r\n";
  constexpr std::string_view kFaulty = "BDAT 7\r\nFrom: \nBDAT 4 LAST\r\nabc\n";
  for (const std::string_view group : {kGood, kFaulty}) {
    for (std::size_t cut = 0; cut <= group.size(); ++cut) {
      for (const std::size_t first : {std::size_t{1}, group.size()}) {
        ShardParts shard;
        Peer& peer = shard.connect();
        shard.say(peer, "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\nRCPT TO:<b@mx.example>\r\n");
        for (std::size_t at = 0; at < group.size();) {
          const std::size_t end = at < cut ? std::min(cut, at + first) : group.size();
          shard.say(peer, group.substr(at, end - at));
          at = end;
        }
        if (group == kGood) shard.decide(CommitOutcome::kDurable);
        EXPECT_TRUE(has(peer.heard, group == kGood ? "250 2.0.0 Ok 0\r\n" : "550 5.5.2"))
            << cut << ": " << peer.heard;
      }
    }
  }
}

TEST(Conversation, DrainingLetsATransactionEndAndNobodyBegin) {
  ShardParts shard;
  Peer& busy = shard.at_data();
  Peer& idle = shard.connect();
  shard.context->draining = true;
  shard.say(idle, "NOOP\r\n");
  EXPECT_TRUE(has(idle.heard, "421 4.3.2")) << idle.heard;
  shard.say(busy, std::string(kMessage) + ".\r\n");
  shard.decide(CommitOutcome::kDurable);
  EXPECT_TRUE(busy.heard.starts_with("250 2.0.0 Ok 0\r\n421 4.3.2")) << busy.heard;
}

TEST(Conversation, WithoutRoomOnDiskOrInTheQueueMailIsPutOff) {
  ShardParts shard;
  Peer& peer = shard.connect();
  shard.say(peer, "EHLO c.example\r\n");
  shard.context->storage_low = true;
  EXPECT_EQ(shard.say(peer, "MAIL FROM:<a@c.example>\r\n").substr(0, 9), "452 4.3.1");
}

TEST(Conversation, AFullQueueToTheWriterRefusesAndLosesNobody) {
  ShardParts shard;
  std::vector<Peer*> peers;
  for (std::size_t i = 0; i < shard.to_writer.capacity() + 2; ++i) {
    peers.push_back(&shard.at_data());
    shard.say(*peers.back(), kMessage);
  }
  for (Peer* peer : peers) shard.say(*peer, ".\r\n");
  std::size_t refused = 0;
  for (Peer* peer : peers) refused += peer->heard.starts_with("452 4.3.1") ? 1 : 0;
  EXPECT_EQ(refused, 2U);
  // No new transaction either, until the writer has decided.
  Peer& late = shard.connect();
  EXPECT_TRUE(has(shard.say(late, kEnvelope), "452 4.3.1"));
  shard.decide(CommitOutcome::kDurable);
  std::size_t accepted = 0;
  for (Peer* peer : peers) accepted += peer->heard.starts_with("250 2.0.0 Ok") ? 1 : 0;
  EXPECT_EQ(accepted, peers.size() - 2);
  EXPECT_TRUE(has(shard.say(late, kEnvelope), "250 2.1.5"));
}

TEST(Conversation, ASyncThatTakesAMinuteCostsNobodyTheReply) {
  ShardParts shard;
  Peer& waits = shard.at_data();
  shard.say(waits, std::string(kMessage) + ".\r\n");
  for (int second = 0; second < 60; ++second) {
    shard.pass(kSecond);
    Peer& other = shard.connect("192.0.2.9");
    EXPECT_EQ(shard.say(other, "QUIT\r\n"), "221 2.0.0 Bye\r\n");
  }
  // Even one of ten minutes: it is we who are slow.
  shard.pass(600 * kSecond);
  EXPECT_EQ(shard.of(waits).hold(), Hold::kCommit);
  shard.decide(CommitOutcome::kDurable);
  EXPECT_EQ(waits.heard, "250 2.0.0 Ok 0\r\n");
}

// ---- giving up

struct Way {
  const char* name;
  // Of a conversation that receives a message whose check waits for answers.
  std::function<void(ShardParts&, Peer&)> go;
};
void PrintTo(const Way& way, std::ostream* out) {
  *out << way.name;
}

const std::vector<Way> kWays = {
    {"Nul", [](ShardParts& s, Peer& p) { s.say(p, std::string("x\0y\r\n.\r\n", 8)); }},
    {"BareLf", [](ShardParts& s, Peer& p) { s.say(p, "x\ny\r\n.\r\n"); }},
    {"BareCr", [](ShardParts& s, Peer& p) { s.say(p, "x\ry\r\n.\r\n"); }},
    {"LongLine", [](ShardParts& s, Peer& p) { s.say(p, std::string(70'000, 'x') + "\r\n.\r\n"); }},
    {"TooLarge",
     [](ShardParts& s, Peer& p) {
       for (int i = 0; i < 6; ++i) s.say(p, std::string(32'768, 'x').replace(0, 2, "\r\n"));
     }},
    {"Reset", [](ShardParts& s, Peer& p) { s.receive_ends(p, -ECONNRESET); }},
    {"Closed", [](ShardParts& s, Peer& p) { s.receive_ends(p, 0); }},
    {"LastWords", [](ShardParts& s, Peer& p) { s.of(p).say_last_words(smtp::replies::kDraining); }},
    {"CutOff", [](ShardParts& s, Peer& p) { s.of(p).cut_off(CutOff::kNotReadingDraining); }},
    {"ForMemory", [](ShardParts& s, Peer& p) { s.of(p).give_up_for_memory(); }},
    {"CutOffForMemory", [](ShardParts& s, Peer& p) { s.of(p).cut_off_for_memory(); }},
    {"SendFails",
     [](ShardParts& s, Peer& p) {
       s.of(p).on_send(
           {.tag = {uring::Operation::kSend, p.ref.generation, p.ref.slot}, .result = -EPIPE});
     }},
};

class GivingUp : public testing::TestWithParam<Way> {};

void small_messages(Config& config) {
  config.limits.message_bytes = 150'000;
}

TEST_P(GivingUp, WhileReceivingLeavesNothingBehind) {
  ShardParts shard({.checks = true, .adjust = small_messages});
  Peer& peer = shard.at_data();
  shard.say(peer,
            "DKIM-Signature: v=1; a=rsa-sha256; d=c.example; s=s; h=from; bh=YQ==; b=YQ==\r\n" +
                std::string(kMessage) + std::string(3000, 'x') + "\r\n");
  ASSERT_EQ(shard.checks->live(), 1U);
  if (std::string_view(GetParam().name) == "SendFails") {
    peer.reads = false;
    return;  // a send is in flight only while replies are: see WhileWaiting
  }
  GetParam().go(shard, peer);
  shard.turn();
  EXPECT_EQ(shard.checks->live(), 0U);
  EXPECT_EQ(shard.memory->receiving(), 0U);
  EXPECT_EQ(shard.buffers->held_buffers(), 0U);
  EXPECT_EQ(shard.delivery->in_flight(), 0U);
}

TEST_P(GivingUp, WhileWaitingForTheVerdictLeavesNothingBehind) {
  const std::string_view name = GetParam().name;
  const bool by_content =
      name == "Nul" || name.starts_with("Bare") || name == "LongLine" || name == "TooLarge";
  if (by_content) return;  // the message is complete: what follows is commands
  ShardParts shard({.checks = true, .adjust = small_messages});
  Peer& peer = shard.connect();
  shard.say(peer, kEnvelope);
  peer.reads = false;  // 354 stays in flight
  shard.arrive(peer, "DATA\r\n");
  shard.turn();
  shard.arrive(peer, std::string(kMessage) + ".\r\n");
  shard.turn();
  ASSERT_EQ(shard.of(peer).hold(), Hold::kVerdict);
  ASSERT_TRUE(peer.sending);
  if (name == "SendFails") peer.sending = false;
  GetParam().go(shard, peer);
  shard.turn();
  if (name == "Closed") {
    // It may still read its reply: the message is judged and kept.
    EXPECT_EQ(shard.checks->live(), 1U);
    shard.pass(shard.config.limits.dns_time_ns + kSecond);
    EXPECT_EQ(shard.delivery->in_flight(), 1U);
    return;
  }
  EXPECT_EQ(shard.checks->live(), 0U);
  EXPECT_EQ(shard.memory->receiving(), 0U);
  EXPECT_EQ(shard.buffers->held_buffers(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Ways, GivingUp, testing::ValuesIn(kWays),
                         [](const auto& found) { return std::string(found.param.name); });

TEST(Conversation, WhoIsGivenUpForMemoryHears452AndGoesOn) {
  ShardParts shard;
  Peer& peer = shard.at_data();
  shard.say(peer, kMessage);
  shard.of(peer).give_up_for_memory();
  EXPECT_EQ(shard.say(peer, "more\r\n.\r\n").substr(0, 9), "452 4.3.1");
  EXPECT_EQ(shard.say(peer, "NOOP\r\n"), "250 2.0.0 Ok\r\n");
}

TEST(Conversation, WhoIsCutOffForMemoryHears421AndIsGone) {
  ShardParts shard;
  Peer& peer = shard.connect();
  shard.of(peer).cut_off_for_memory();
  shard.turn();
  EXPECT_TRUE(has(peer.heard, "421 4.3.2")) << peer.heard;
  EXPECT_TRUE(peer.freed) << "it must not linger";
}

// ---- what the journal has of those who hear nothing

class Journalled : public testing::Test {
 protected:
  Journalled() {
    EXPECT_TRUE(journal_->configure({.to = path_}));
    shard_.context->journal = &*journal_;
  }
  ~Journalled() override { std::filesystem::remove(path_); }
  // A client that asks and asks and reads none of the replies.
  Peer& deaf() {
    Peer& peer = shard_.connect();
    peer.reads = false;
    shard_.say(peer, "EHLO c.example\r\nNOOP\r\n");
    EXPECT_TRUE(peer.sending);
    return peer;
  }
  // All lines, once the journal has ended.
  std::string lines() {
    shard_.context->journal = nullptr;
    journal_.reset();
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void expect_cut_off(const std::string& why) {
    EXPECT_EQ(shard_.count(obs::Counter::kReplies4xx), 0U) << "no reply was given";
    const std::string all = lines();
    EXPECT_TRUE(has(all, "\"event\":\"cut_off\"")) << all;
    EXPECT_TRUE(has(all, "\"reply\":null,\"text\":\"" + why + "\"")) << all;
    EXPECT_EQ(std::ranges::count(all, '\n'), 1) << all;
  }

  const std::string path_ =
      testing::TempDir() + "/mxring-conversation." + std::to_string(::getpid());
  std::optional<Journal> journal_{std::in_place, STDERR_FILENO};
  ShardParts shard_;
};

TEST_F(Journalled, WhoReadsNothingUntilItsTimeIsUp) {
  Peer& peer = deaf();
  shard_.pass(shard_.config.limits.command_wait_ns + base::kNsPerSecond);
  EXPECT_TRUE(peer.freed);
  expect_cut_off("timed out, and it does not read replies");
}

TEST_F(Journalled, WhoReadsNothingAndHoldsTooMuch) {
  Peer& peer = deaf();
  shard_.of(peer).cut_off_for_memory();
  shard_.turn();
  EXPECT_TRUE(peer.freed);
  expect_cut_off("holds too much memory, and does not read replies");
}

TEST_F(Journalled, WhoReadsNothingWhileTheServerStops) {
  Peer& peer = deaf();
  shard_.of(peer).cut_off(CutOff::kNotReadingDraining);
  shard_.turn();
  EXPECT_TRUE(peer.freed);
  expect_cut_off("shutting down, and it does not read replies");
}

TEST_F(Journalled, WhoWaitsForLastWordsIsNotCutOffTwice) {
  Peer& peer = shard_.connect();
  shard_.of(peer).say_last_words(smtp::replies::kDraining);
  shard_.turn();
  EXPECT_EQ(shard_.of(peer).phase(), Conversation::Phase::kLingering);
  shard_.of(peer).cut_off(CutOff::kNotReadingDraining);
  shard_.turn();
  EXPECT_TRUE(peer.freed);
  const std::string all = lines();
  EXPECT_EQ(std::ranges::count(all, '\n'), 1) << all;
  EXPECT_TRUE(has(all, "421 4.3.2 Shutting down")) << all;
}

TEST(Conversation, AnEnvelopeCountsInWhatItHolds) {
  ShardParts shard;
  Peer& peer = shard.connect();
  const std::uint64_t before = shard.of(peer).held().sum();
  shard.say(peer, "EHLO c.example\r\nMAIL FROM:<a@c.example>\r\n");
  std::string recipients;
  const std::string recipient =
      "RCPT TO:<" + std::string(64, 'x') + "@" + std::string(60, 'd') + ".example>\r\n";
  for (int i = 0; i < 500; ++i) recipients += recipient;
  shard.say(peer, recipients);
  EXPECT_GT(shard.of(peer).held().sum(), before + 500U * 130);
  shard.say(peer, "RSET\r\n");
  EXPECT_LT(shard.of(peer).held().sum(), before + 16U * 1024);
}

// ---- the invariants fire

MXRING_REVEAL(PhaseOf, &Conversation::phase_);
MXRING_REVEAL(HoldOf, &Conversation::hold_);
MXRING_REVEAL(PausesOf, &Conversation::pauses_);
MXRING_REVEAL(MessageOf, &Conversation::message_);
MXRING_REVEAL(CheckOf, &Conversation::check_);
MXRING_REVEAL(GreetedOf, &Conversation::greeted_);
MXRING_REVEAL(PausedOf, &MemoryHolder::paused_);

// `prepare` brings it into a state, `break_it` makes that state a lie.
void expect_fires(const std::string& condition, Peer& (*prepare)(ShardParts&),
                  void (*break_it)(Conversation&, ShardParts&)) {
  ShardParts shard;
  Conversation& conversation = shard.of(prepare(shard));
  conversation.invariants();
  mxring::test::expect_fires(condition, [&] {
    break_it(conversation, shard);
    conversation.invariants();
  });
}

Peer& idle(ShardParts& shard) {
  return shard.connect();
}
Peer& in_data(ShardParts& shard) {
  return shard.at_data();
}
Peer& committing(ShardParts& shard) {
  Peer& peer = shard.at_data();
  shard.say(peer, std::string(kMessage) + ".\r\n");
  return peer;
}
Peer& with_header(ShardParts& shard) {
  return shard.arrive_as({.sends_header = true});
}
Message& some_message(ShardParts& shard) {
  return *new Message(*shard.buffers, shard.config.limits);  // the process dies at once
}

TEST(ConversationDeathTest, EachInvariantFires) {
  expect_fires("hold_ == Hold::kNone || talking", idle, [](Conversation& c, ShardParts&) {
    c.*member_of(PhaseOf{}) = Phase::kLingering;
    c.*member_of(HoldOf{}) = Hold::kSlowed;
  });
  expect_fires("(hold_ == Hold::kHeader) == (header_ != nullptr)", idle,
               [](Conversation& c, ShardParts&) { c.*member_of(HoldOf{}) = Hold::kHeader; });
  expect_fires("hold_ != Hold::kLists || (lists_ != nullptr && lists_->under_way())", idle,
               [](Conversation& c, ShardParts&) { c.*member_of(HoldOf{}) = Hold::kLists; });
  expect_fires("header_ == nullptr || (!greeted_ && !connection_.has_tls())", with_header,
               [](Conversation& c, ShardParts&) { c.*member_of(GreetedOf{}) = true; });
  expect_fires("is_waiting() == (session_.waiting() && talking)", idle,
               [](Conversation& c, ShardParts&) { c.*member_of(HoldOf{}) = Hold::kVerdict; });
  expect_fires("(message_ == nullptr && check_ == nullptr) || talking", in_data,
               [](Conversation& c, ShardParts&) { c.*member_of(PhaseOf{}) = Phase::kLingering; });
  expect_fires("hold_ != Hold::kVerdict || (message_ != nullptr && check_ != nullptr)", committing,
               [](Conversation& c, ShardParts&) { c.*member_of(HoldOf{}) = Hold::kVerdict; });
  expect_fires(
      "hold_ != Hold::kCommit || (message_ == nullptr && check_ == nullptr)", committing,
      [](Conversation& c, ShardParts& s) { c.*member_of(MessageOf{}) = &some_message(s); });
  expect_fires(
      "message_ == nullptr || session_.message_open()", idle,
      [](Conversation& c, ShardParts& s) { c.*member_of(MessageOf{}) = &some_message(s); });
  expect_fires("check_ == nullptr || session_.in_transaction()", idle,
               [](Conversation& c, ShardParts&) {
                 alignas(MessageCheck) static char nothing[sizeof(MessageCheck)];
                 c.*member_of(CheckOf{}) = reinterpret_cast<MessageCheck*>(nothing);
               });
  expect_fires(
      "pauses_.has(Pause::kStarved) == starved_hook.linked()", idle,
      [](Conversation& c, ShardParts&) { (c.*member_of(PausesOf{})).add(Pause::kStarved); });
  expect_fires("pauses_.has(Pause::kMemory) == paused_for_memory()", idle,
               [](Conversation& c, ShardParts&) { c.set_memory_pause(true); });
  expect_fires("!paused_for_memory() || message_ != nullptr", idle,
               [](Conversation& c, ShardParts&) {
                 c.set_memory_pause(true);
                 c.*member_of(PausedOf{}) = true;
               });
  expect_fires("!handshake_hook.linked() || phase_ == Phase::kHandshake", idle,
               [](Conversation& c, ShardParts& s) { s.context->handshakes.push_back(c); });
  expect_fires("phase_ != Phase::kShut || connection_.shutting()", idle,
               [](Conversation& c, ShardParts&) { c.*member_of(PhaseOf{}) = Phase::kShut; });
}

TEST(ConversationDeathTest, ACommitThatNobodyWaitsFor) {
  ShardParts shard;
  Peer& peer = shard.connect();
  Message message(*shard.buffers, shard.config.limits);
  message.outcome = CommitOutcome::kDurable;
  EXPECT_DEATH(shard.of(peer).on_decided(message), "hold_ == Hold::kCommit");
}

}  // namespace
}  // namespace mxring::server
