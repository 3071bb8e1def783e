// What one turn checks at most, and that a check goes with whoever it was begun for.
#include "server/check_batch.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/mailauth/dkim_signing.h"
#include "tests/server/shard_parts.h"
#include "tests/support/broken_invariant.h"

namespace mxring::server {
namespace {

using test::ShardParts;

// A message in a pool's buffers that waits to be checked.
class Subject final : public CheckSubject {
 public:
  Subject(ShardParts& shard, const std::string& text) : shard_(shard) {
    message_ = shard.delivery->begin({});
    for (std::size_t at = 0; at < text.size(); at += 4096) {
      uring::BufferId id = 0;
      EXPECT_TRUE(shard.buffers->take(&id));
      const std::string piece = text.substr(at, 4096);
      piece.copy(shard.buffers->data(id), piece.size());
      message_->append({shard.buffers->data(id), piece.size()}, id);
      message_->settle(id);
      shard.buffers->release(id);
    }
    check_ = &shard.checks->begin(*this,
                                  {.client = *base::IpAddress::parse("192.0.2.1"),
                                   .mail_from = "a@signed.example",
                                   .helo = "c.example",
                                   .receiver = "mx.test",
                                   .now_unix_s = 1'700'000'000},
                                  shard.now);
  }
  ~Subject() { give_up(); }

  void complete() {
    message_->header().finish();
    complete_ = true;
    shard_.checks->touch(*check_);
  }
  void give_up() {
    if (check_ != nullptr) shard_.checks->drop(*check_);
    check_ = nullptr;
    if (message_ != nullptr) shard_.delivery->abandon(message_);
    message_ = nullptr;
  }
  Message* message_to_check() override { return gone ? nullptr : message_; }
  bool message_complete() const override { return complete_; }
  void on_verdict() override {
    ++verdicts;
    for (const auto& signature : check_->evaluation().dkim()) results.push_back(signature.result);
    give_up();
  }

  MessageCheck* check() { return check_; }
  int verdicts = 0;
  std::vector<mailauth::Result> results;
  bool gone = false;  // a lie

 private:
  ShardParts& shard_;
  Message* message_ = nullptr;
  MessageCheck* check_ = nullptr;
  bool complete_ = false;
};

class CheckBatchTest : public testing::Test {
 protected:
  CheckBatchTest() : shard_({.buffers = 4096, .checks = true}) {
    know("signed.example", {"v=spf1 -all"});
    test_key_ = std::make_unique<mxring::test::SigningDomain>(crypto::KeyType::kRsa,
                                                              "signed.example", "s", 2048);
    know("s._domainkey.signed.example", {test_key_->record()});
  }
  void know(std::string_view name, std::vector<std::string> texts) {
    auto answer = std::make_shared<dns::Answer>();
    answer->status = dns::Status::kAnswer;
    answer->ttl_s = 3600;
    answer->texts = std::move(texts);
    shard_.dns->cache().put({*dns::Name::parse(name), dns::Type::kTxt}, answer, shard_.now.mono);
  }
  std::unique_ptr<Subject> subject(const std::string& text) {
    return std::make_unique<Subject>(shard_, text);
  }
  std::string signed_text(std::size_t signatures, std::size_t body_bytes = 100) {
    std::string letter = "From: a@signed.example\r\n\r\n";
    while (letter.size() < body_bytes) letter += "a  line \t of text\r\n";
    const std::string with = test_key_->sign(letter);
    const std::string one = with.substr(0, with.size() - letter.size());
    std::string text;
    for (std::size_t i = 0; i < signatures; ++i) text += one;
    return text + letter;
  }

  ShardParts shard_;
  std::unique_ptr<mxring::test::SigningDomain> test_key_;
};

TEST_F(CheckBatchTest, ASignedMessagePasses) {
  auto one = subject(signed_text(1));
  one->complete();
  shard_.checks->run(shard_.now);
  EXPECT_EQ(one->verdicts, 1);
  ASSERT_EQ(one->results.size(), 1U);
  EXPECT_EQ(one->results.front(), mailauth::Result::kPass);
  EXPECT_EQ(shard_.checks->live(), 0U);
}

TEST_F(CheckBatchTest, SignaturesBeyondATurnsMeasureWaitForTheNextAndAllPass) {
  constexpr std::size_t kMessages = 20;  // of ten signatures, of four units: three turns and more
  const std::string text = signed_text(10);
  std::vector<std::unique_ptr<Subject>> all;
  for (std::size_t i = 0; i < kMessages; ++i) {
    all.push_back(subject(text));
    all.back()->complete();
  }
  std::vector<int> done;
  for (int turn = 0; turn < 20 && shard_.checks->live() > 0; ++turn) {
    shard_.checks->run(shard_.now);
    shard_.checks->invariants();
    int verdicts = 0;
    for (const auto& one : all) verdicts += one->verdicts;
    done.push_back(verdicts);
  }
  EXPECT_EQ(done.back(), static_cast<int>(kMessages));
  EXPECT_GE(done.size(), 3U);
  EXPECT_LE(done.front(), 7) << "256 units are six messages and a part";
  for (const auto& one : all) {
    EXPECT_EQ(one->results, std::vector(10, mailauth::Result::kPass));
  }
}

TEST_F(CheckBatchTest, AMessageWithMoreSignaturesThanATurnAllowsIsVerifiedAllTheSame) {
  shard_.config.limits.dkim_signatures = 100;
  auto many = subject(signed_text(100));
  many->complete();
  shard_.checks->run(shard_.now);
  EXPECT_EQ(many->verdicts, 0);
  EXPECT_EQ(shard_.checks->touched(), 1U);
  for (int turn = 0; turn < 5 && many->verdicts == 0; ++turn) shard_.checks->run(shard_.now);
  EXPECT_EQ(many->results, std::vector(100, mailauth::Result::kPass));
}

TEST_F(CheckBatchTest, HashingIsSharedOutOverTurns) {
  auto large = subject(signed_text(1, 3'000'000));
  auto small = subject(signed_text(1));
  large->complete();
  small->complete();
  // One turn, unless the machine is so slow that its time is up before.
  int turns = 0;
  while (small->verdicts == 0 && ++turns < 4) shard_.checks->run(shard_.now);
  EXPECT_EQ(small->verdicts, 1) << "it does not wait for the large one";
  ASSERT_EQ(large->verdicts, 0);
  EXPECT_TRUE(large->check()->behind());
  while (large->verdicts == 0 && turns < 1000) {
    shard_.checks->run(shard_.now);
    ++turns;
  }
  EXPECT_EQ(large->results, std::vector(1, mailauth::Result::kPass));
  EXPECT_GE(turns, 3);
}

TEST_F(CheckBatchTest, WhoIsGivenUpWhileItLagsLeavesNothing) {
  for (int turns = 0; turns < 4; ++turns) {
    auto large = subject(signed_text(3, 3'000'000));
    large->complete();
    for (int i = 0; i < turns; ++i) shard_.checks->run(shard_.now);
    large->give_up();
    EXPECT_EQ(shard_.checks->live(), 0U);
    EXPECT_EQ(shard_.checks->touched(), 0U);
    EXPECT_EQ(shard_.buffers->held_buffers(), 0U);
    shard_.checks->run(shard_.now);
    shard_.checks->invariants();
  }
}

TEST_F(CheckBatchTest, WhoIsGivenUpWhileItsSignaturesAreVerifiedLeavesNothing) {
  shard_.config.limits.dkim_signatures = 100;
  auto many = subject(signed_text(100));
  many->complete();
  shard_.checks->run(shard_.now);
  ASSERT_TRUE(many->check()->signatures_left());
  many->give_up();
  shard_.checks->run(shard_.now);
  EXPECT_EQ(shard_.checks->live(), 0U);
}

TEST_F(CheckBatchTest, WithoutAnswersTheTimeIsUpForTheOldestFirst) {
  auto asks = [this] {
    return subject(
        "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=silent.example; s=s;\r\n"
        " h=from; bh=" +
        std::string(43, 'A') + "=; b=AAAA\r\nFrom: a@silent.example\r\n\r\nhi\r\n");
  };
  auto first = asks();
  first->complete();
  shard_.checks->run(shard_.now);
  shard_.now.mono.ns += base::kNsPerSecond;
  auto second = asks();
  second->complete();
  shard_.checks->run(shard_.now);
  shard_.checks->invariants();
  EXPECT_EQ(first->verdicts + second->verdicts, 0);
  shard_.now.mono.ns += shard_.config.limits.dns_time_ns - base::kNsPerSecond / 2;
  shard_.checks->end_overdue(shard_.now.mono);
  shard_.checks->run(shard_.now);
  EXPECT_EQ(first->verdicts, 1);
  EXPECT_EQ(second->verdicts, 0);
  EXPECT_EQ(first->results, std::vector(1, mailauth::Result::kTemperror));
}

using CheckBatchDeathTest = CheckBatchTest;

MXRING_REVEAL(LiveOf, &CheckBatch::live_);
MXRING_REVEAL(RunningOf, &CheckBatch::running_);
MXRING_REVEAL(TouchedOf, &CheckBatch::touched_);

TEST_F(CheckBatchDeathTest, EachInvariantFires) {
  auto large = subject(signed_text(1, 3'000'000));
  large->complete();
  shard_.checks->run(shard_.now);
  ASSERT_TRUE(large->check()->behind());
  shard_.now.mono.ns += base::kNsPerSecond;
  auto younger = subject(signed_text(1));
  CheckBatch& checks = *shard_.checks;
  checks.invariants();
  mxring::test::expect_fires("running_.size() <= live_ && touched_.size() <= live_", [&] {
    checks.*member_of(LiveOf{}) = 0;
    checks.invariants();
  });
  mxring::test::expect_fires("next == nullptr || check->deadline() <= next->deadline()", [&] {
    auto& running = checks.*member_of(RunningOf{});
    running.remove(*large->check());
    running.push_back(*large->check());
    checks.invariants();
  });
  mxring::test::expect_fires("!check->behind() || check->subject().message_to_check() != nullptr",
                             [&] {
                               large->gone = true;
                               checks.invariants();
                             });
  mxring::test::expect_fires("!check->behind() || check->touched_hook.linked()", [&] {
    (checks.*member_of(TouchedOf{})).remove(*large->check());
    checks.invariants();
  });
}

// The fault that once stopped a shard: the message is gone, its check stays and lags.
TEST_F(CheckBatchDeathTest, ACheckWhoseMessageIsGone) {
  auto large = subject(signed_text(1, 3'000'000));
  large->complete();
  shard_.checks->run(shard_.now);
  ASSERT_TRUE(large->check()->behind());
  large->gone = true;
  EXPECT_DEATH(shard_.checks->run(shard_.now), "behind");
  EXPECT_DEATH(shard_.checks->invariants(), "message_to_check");
}

}  // namespace
}  // namespace mxring::server
