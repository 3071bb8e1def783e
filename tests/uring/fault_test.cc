// The fault seam: the plan itself, and what it does to operations of a ring. Files have their own.
#include "uring/fault.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <set>
#include <string>

#include "tests/uring/ring_fixture.h"
#include "uring/ring.h"

namespace mxring::uring {
namespace {

TEST(FaultPlanTest, CountsEachKindOnItsOwn) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kFileWrite, .nth = 2, .error = EIO});
  EXPECT_FALSE(plan.next(FaultPoint::kFileSync));
  EXPECT_FALSE(plan.next(FaultPoint::kFileWrite));
  EXPECT_FALSE(plan.next(FaultPoint::kFileSync));
  EXPECT_FALSE(plan.next(FaultPoint::kFileWrite));
  EXPECT_FALSE(plan.next(FaultPoint::kFileSync));
  const auto rule = plan.next(FaultPoint::kFileWrite);
  ASSERT_TRUE(rule.has_value());
  EXPECT_EQ(rule->error, EIO);
  EXPECT_FALSE(plan.next(FaultPoint::kFileWrite));
  EXPECT_EQ(plan.count(FaultPoint::kFileWrite), 4U);
  EXPECT_EQ(plan.count(FaultPoint::kFileSync), 3U);
  EXPECT_EQ(plan.count(FaultPoint::kSend), 0U);
}

TEST(FaultPlanTest, CanFailFromAnIndexOn) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kSend, .nth = 1, .every_from_nth = true, .error = EPIPE});
  EXPECT_FALSE(plan.next(FaultPoint::kSend));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(plan.next(FaultPoint::kSend));
}

TEST(FaultPlanTest, NamesAreDistinct) {
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < static_cast<std::size_t>(FaultPoint::kCount); ++i) {
    names.insert(name(static_cast<FaultPoint>(i)));
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(FaultPoint::kCount));
  EXPECT_FALSE(names.contains("unknown"));
}

TEST_F(RingTest, SendFailsAtExactlyTheIndexAsked) {
  constexpr std::uint32_t kSends = 6;
  for (std::uint32_t failing = 0; failing < kSends; ++failing) {
    FaultPlan plan;
    plan.add({.point = FaultPoint::kSend, .nth = failing, .error = ECONNRESET});
    start({}, &plan);
    SocketPair pair;
    const std::string text = "abcdef";
    for (std::uint32_t i = 0; i < kSends; ++i) {
      ring_->send(pair[0], &text[i], 1, {Operation::kSend, 0, i});
    }
    const auto seen = wait_for(kSends);
    ASSERT_EQ(seen.size(), kSends);
    std::string expected = text;
    expected.erase(failing, 1);
    for (const Completion& completion : seen) {
      EXPECT_EQ(completion.result, completion.tag.slot == failing ? -ECONNRESET : 1);
    }
    char bytes[16];
    const ssize_t got = ::recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT);
    EXPECT_EQ(std::string(bytes, static_cast<std::size_t>(got)), expected);
    ring_.reset();
  }
}

TEST_F(RingTest, SendIsShortened) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kSend, .nth = 1, .shorten_to = 3});
  start({}, &plan);
  SocketPair pair;
  for (std::uint32_t i = 0; i < 3; ++i) {
    ring_->send(pair[0], "12345", 5, {Operation::kSend, 0, i});
  }
  for (const Completion& completion : wait_for(3)) {
    EXPECT_EQ(completion.result, completion.tag.slot == 1 ? 3 : 5);
  }
  char bytes[32];
  const ssize_t got = ::recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT);
  EXPECT_EQ(std::string(bytes, static_cast<std::size_t>(got)), "1234512312345");
  ring_.reset();
}

TEST_F(RingTest, AcceptAndReceiveFailUntried) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kAccept, .nth = 0, .error = EMFILE});
  plan.add({.point = FaultPoint::kReceive, .nth = 1, .error = ECANCELED});
  start({}, &plan);
  Listener listener;
  SocketPair pair;
  ASSERT_EQ(::write(pair[1], "ab", 2), 2);
  char first = 0;
  char second = 0;
  const Tag accept{Operation::kAccept, 0, 0};
  const Tag receive_first{Operation::kReceive, 0, 1};
  const Tag receive_second{Operation::kReceive, 0, 2};
  ring_->accept_multishot(listener.fd, accept);
  ring_->receive(pair[0], &first, 1, receive_first);
  ring_->receive_multishot(pair[0], 0, receive_second);
  const auto seen = wait_for(3);
  ASSERT_EQ(seen.size(), 3U);
  ASSERT_NE(find(seen, accept), nullptr);
  EXPECT_EQ(find(seen, accept)->result, -EMFILE);
  EXPECT_FALSE(find(seen, accept)->more);
  ASSERT_NE(find(seen, receive_first), nullptr);
  EXPECT_EQ(find(seen, receive_first)->result, 1);
  EXPECT_EQ(first, 'a');
  ASSERT_NE(find(seen, receive_second), nullptr);
  EXPECT_EQ(find(seen, receive_second)->result, -ECANCELED);
  EXPECT_EQ(::recv(pair[0], &second, 1, MSG_DONTWAIT), 1);
  EXPECT_EQ(second, 'b');
  ring_.reset();
}

TEST_F(RingTest, FailureAloneDoesNotWait) {
  FaultPlan plan;
  plan.add({.point = FaultPoint::kSend, .nth = 0, .error = EPIPE});
  start({}, &plan);
  SocketPair pair;
  ring_->send(pair[0], "x", 1, {Operation::kSend, 0, 0});
  EXPECT_EQ(ring_->queued(), 0U);
  EXPECT_EQ(ring_->submit_and_wait(-1).size(), 1U);  // would wait for ever
  ring_.reset();
}

TEST_F(RingTest, TraceNamesEachOperation) {
  FaultPlan plan;
  plan.set_trace(true);
  plan.add({.point = FaultPoint::kSend, .nth = 1, .error = EPIPE});
  start({}, &plan);
  SocketPair pair;
  ring_->send(pair[0], "abc", 3, {Operation::kSend, 7, 4});
  ring_->send(pair[0], "abc", 3, {Operation::kSend, 7, 4});
  EXPECT_EQ(plan.trace(),
            (std::vector<std::string>{"send slot 4 generation 7 3 bytes -> queued",
                                      "send slot 4 generation 7 3 bytes -> errno 32"}));
  wait_for(2);
  ring_.reset();
}

}  // namespace
}  // namespace mxring::uring
