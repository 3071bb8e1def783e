// Which outcomes are used again, for whom, and for how long.
#include <gtest/gtest.h>

#include <string>

#include "mailauth/spf/outcome_cache.h"
#include "tests/dns/zone.h"

namespace mxring::mailauth::spf {
namespace {

constexpr std::int64_t kSecond = base::kNsPerSecond;

struct Sender {
  std::string ip = "192.0.2.1";
  std::string mail_from = "user@start.example";
  std::string helo = "helo.example";
};

class SpfOutcomeCacheTest : public testing::Test {
 protected:
  // As the server does it. True: the outcome was a known one.
  bool repeated(const std::string& record, const Sender& sender = {}, base::MonoTime now = {0}) {
    const test::Zone zone = test::Zone::parse("start.example TXT \"" + record + "\"\n" +
                                              R"(
other.example TXT "v=spf1 -all"
helo.example TXT "v=spf1 ip4:192.0.2.0/24 -all"
listed.example A 127.0.0.2
1.2.0.192.in-addr.arpa PTR host.start.example
host.start.example A 192.0.2.1
silent.example ! servfail
)");
    evaluator.begin({.client = *base::IpAddress::parse(sender.ip),
                     .mail_from = sender.mail_from,
                     .helo = sender.helo});
    const Outcome* known = cache.find(evaluator, now);
    if (known != nullptr) evaluator.repeat(*known);
    while (!evaluator.step()) {
      EXPECT_EQ(known, nullptr);
      for (const dns::Question& question : evaluator.questions()) {
        evaluator.supply(question, zone.answer(question));
      }
    }
    cache.put(evaluator, now);
    return known != nullptr;
  }

  OutcomeCache cache;
  Evaluator evaluator;
};

TEST_F(SpfOutcomeCacheTest, SameAddressAndDomain) {
  const std::string record = "v=spf1 ip4:192.0.2.0/24 -all";
  EXPECT_FALSE(repeated(record));
  const Outcome first = evaluator.outcome();
  EXPECT_EQ(first.result, Result::kPass);
  EXPECT_TRUE(repeated(record, {.mail_from = "someone.else@start.example"}));
  EXPECT_EQ(evaluator.outcome().result, first.result);
  EXPECT_EQ(evaluator.outcome().mechanism, "ip4:192.0.2.0/24");
  EXPECT_EQ(evaluator.outcome().domain, "start.example");
  EXPECT_EQ(evaluator.outcome().questions, first.questions);
}

TEST_F(SpfOutcomeCacheTest, AnythingElseIsJudgedByItself) {
  const std::string record = "v=spf1 ip4:192.0.2.1 -all";
  EXPECT_FALSE(repeated(record));
  EXPECT_FALSE(repeated(record, {.ip = "192.0.2.2"}));
  EXPECT_EQ(evaluator.outcome().result, Result::kFail);
  EXPECT_FALSE(repeated(record, {.ip = "2001:db8::1"}));
  EXPECT_FALSE(repeated(record, {.mail_from = "user@other.example"}));
  EXPECT_EQ(evaluator.outcome().result, Result::kFail);
  EXPECT_FALSE(repeated(record, {.mail_from = ""}));
  EXPECT_EQ(evaluator.outcome().identity, Identity::kHelo);
  EXPECT_FALSE(repeated(record, {.mail_from = "user@helo.example"}));
  EXPECT_EQ(evaluator.outcome().identity, Identity::kMailFrom);
}

TEST_F(SpfOutcomeCacheTest, FiveSecondsFromWhenItWasFoundOut) {
  const std::string record = "v=spf1 -all";
  EXPECT_FALSE(repeated(record, {}, {0}));
  EXPECT_TRUE(repeated(record, {}, {3 * kSecond}));
  EXPECT_TRUE(repeated(record, {}, {5 * kSecond - 1}));
  EXPECT_FALSE(repeated(record, {}, {5 * kSecond}));
  EXPECT_TRUE(repeated(record, {}, {9 * kSecond}));
}

TEST_F(SpfOutcomeCacheTest, WhatDependsOnTheSenderIsNotRepeated) {
  for (const char* macro : {"%{l}", "%{s}", "%{h}", "%{L}", "%{lr-}"}) {
    const std::string record =
        "v=spf1 ip4:203.0.113.1 exists:" + std::string(macro) + ".no.example -all";
    EXPECT_FALSE(repeated(record)) << macro;
    EXPECT_FALSE(repeated(record)) << macro;
  }
  // A macro behind the term that decides was not looked at.
  const std::string early = "v=spf1 ip4:192.0.2.1 exists:%{l}.no.example -all";
  EXPECT_FALSE(repeated(early));
  EXPECT_TRUE(repeated(early));
}

TEST_F(SpfOutcomeCacheTest, ALocalPartThatCannotMatchIsNotRepeated) {
  const std::string record = "v=spf1 exists:%{l}.listed.example -all";
  EXPECT_FALSE(repeated(record, {.mail_from = "m\xC3\xBCller@start.example"}));
  EXPECT_FALSE(repeated(record, {.mail_from = "muller@start.example"}));
}

TEST_F(SpfOutcomeCacheTest, MacrosOfAddressAndDomainAreFine) {
  for (const char* macro : {"%{i}", "%{ir}.%{v}", "%{d}", "%{o}", "%{p}"}) {
    cache = OutcomeCache();
    const std::string record = "v=spf1 exists:" + std::string(macro) + ".no.example -all";
    EXPECT_FALSE(repeated(record)) << macro;
    EXPECT_TRUE(repeated(record)) << macro;
  }
}

TEST_F(SpfOutcomeCacheTest, NoAnswerFromDnsIsNotRepeated) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(repeated("", {.mail_from = "user@silent.example"}));
    EXPECT_EQ(evaluator.outcome().result, Result::kTemperror);
  }
  evaluator.begin({.client = *base::IpAddress::parse("192.0.2.1"),
                   .mail_from = "u@start.example",
                   .helo = "helo.example"});
  evaluator.step();
  evaluator.give_up();
  cache.put(evaluator, {0});
  EXPECT_FALSE(repeated("v=spf1 -all"));
}

TEST_F(SpfOutcomeCacheTest, NotWhatIsLong) {
  const std::string record = "v=spf1 nonsense:" + std::string(600, 'x') + " -all";
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(repeated(record));
    EXPECT_EQ(evaluator.outcome().result, Result::kPermerror);
    EXPECT_GT(evaluator.outcome().problem.size(), 600U);
  }
}

TEST_F(SpfOutcomeCacheTest, ManyDomainsStayApart) {
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 3000; ++i) {
      const std::string domain = "d" + std::to_string(i) + ".example";
      const std::string ip = i % 2 == 0 ? "192.0.2.1" : "192.0.2.9";
      evaluator.begin({.client = *base::IpAddress::parse(ip),
                       .mail_from = "u@" + domain,
                       .helo = "helo.example"});
      if (const Outcome* known = cache.find(evaluator, {0})) {
        ASSERT_EQ(known->domain, domain);
        ASSERT_EQ(known->result, i % 3 == 0 ? Result::kPass : Result::kFail);
        evaluator.repeat(*known);
      }
      while (!evaluator.step()) {
        auto answer = std::make_shared<dns::Answer>();
        answer->status = dns::Status::kAnswer;
        answer->texts = {i % 3 == 0 ? "v=spf1 +all" : "v=spf1 -all"};
        evaluator.supply(evaluator.questions().front(), answer);
      }
      cache.put(evaluator, {0});
    }
  }
}

}  // namespace
}  // namespace mxring::mailauth::spf
