// What holds of the client between two calls, broken piece by piece. What is inside it is told to
// nobody, so this is a copy of it.
#include <gtest/gtest.h>

#include "dns/client.cc"
#include "tests/support/broken_invariant.h"

namespace mxring::dns {
namespace {

MXRING_REVEAL(PendingOf, &Client::pending_);
MXRING_REVEAL(MostOf, &Client::outstanding_max_);
MXRING_REVEAL(NotForPoliciesOf, &Client::not_for_policies_);
MXRING_REVEAL(PreferredOf, &Client::preferred_);
MXRING_REVEAL(HealthOf, &Client::health_);

class Nobody final : public SocketWatcher, public Waiter {
 public:
  void watch(int, bool, bool) override {}
  void on_answer(const Question&, const AnswerPtr&) override {}
};

TEST(ClientDeathTest, EachInvariantFires) {
  Nobody nobody;
  auto made = Client::create({.servers = {*base::Endpoint::parse("127.0.0.1:1")}}, nobody);
  ASSERT_TRUE(made.has_value());
  Client& client = **made;
  client.start({base::kNsPerSecond});
  ASSERT_EQ(client.ask({*Name::parse("a.example"), Type::kA}, nobody, {base::kNsPerSecond}),
            nullptr);
  ASSERT_EQ(client.outstanding(), 1U);
  client.invariants();
  auto& pending = client.*member_of(PendingOf{});
  const auto expect = [&client](const char* condition, auto break_it) {
    test::expect_fires(condition, [&] {
      break_it();
      client.invariants();
    });
  };
  expect("pending_.size() == by_age_->size()", [&] {
    pending[{*Name::parse("b.example"), Type::kA}] = nullptr;
  });
  expect("pending_.size() <= outstanding_max_", [&] { client.*member_of(MostOf{}) = 0; });
  expect("not_for_policies_ <= pending_.size()",
         [&] { client.*member_of(NotForPoliciesOf{}) = 2; });
  expect("preferred_ < servers_.size()", [&] { client.*member_of(PreferredOf{}) = 1; });
  expect("resolver_answers() || pending_.empty()",
         [&] { (client.*member_of(HealthOf{})).go_down({2 * base::kNsPerSecond}); });
#ifndef NDEBUG
  auto& one = *pending.begin()->second;
  expect("pending->query != nullptr && pending->query->pending == pending",
         [&] { one.query = nullptr; });
  expect("pending->servers_tried != 0 && pending->servers_tried <= servers_.size()",
         [&] { one.servers_tried = 2; });
#endif
}

}  // namespace
}  // namespace mxring::dns
