// Which record applies, what is asked and when, what is aligned, and what a missing answer does.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "mailauth/disposition.h"
#include "mailauth/dmarc/evaluator.h"
#include "mailauth/dmarc/tree_walk.h"
#include "tests/dns/zone.h"

namespace mxring::mailauth::dmarc {
namespace {

using test::Zone;

struct Passes {
  std::vector<std::string> spf = {};
  std::vector<std::string> dkim = {};
  std::vector<std::string> undecided_spf = {};
  std::vector<std::string> undecided_dkim = {};
};

class DmarcEvaluatorTest : public testing::Test {
 protected:
  explicit DmarcEvaluatorTest(const base::Limits& limits = {}) : evaluator(limits) {}

  // With the identifiers known from the start, or only when the policy is.
  const Outcome& run(const Zone& zone, const std::string& from, const Passes& passes = {},
                     bool late = true) {
    evaluator.begin(from);
    asked.clear();
    rounds = 0;
    if (late) answer_all(zone);
    std::vector<Authenticated> domains;
    using Method = Authenticated::Method;
    for (const auto& domain : passes.spf) domains.push_back({Method::kSpf, domain});
    for (const auto& domain : passes.dkim) domains.push_back({Method::kDkim, domain});
    for (const auto& domain : passes.undecided_spf) domains.push_back({Method::kSpf, domain, true});
    for (const auto& domain : passes.undecided_dkim) {
      domains.push_back({Method::kDkim, domain, true});
    }
    evaluator.authenticated(domains);
    answer_all(zone);
    EXPECT_TRUE(evaluator.done());
    return evaluator.outcome();
  }
  const Outcome& run(const std::string& zone, const std::string& from, const Passes& passes = {}) {
    return run(Zone::parse(zone), from, passes);
  }

  void answer_all(const Zone& zone) {
    while (!evaluator.step()) {
      ++rounds;
      ASSERT_FALSE(evaluator.questions().empty());
      for (const dns::Question& question : evaluator.questions()) {
        const std::string text =
            question.name.to_text() + " " + std::string(type_word(question.type));
        EXPECT_TRUE(std::ranges::find(asked, text) == asked.end()) << "asked twice: " << text;
        asked.push_back(text);
        evaluator.supply(question, zone.answer(question));
      }
    }
  }

  Evaluator evaluator;
  std::vector<std::string> asked;
  int rounds = 0;
};

TEST_F(DmarcEvaluatorTest, WalkTargetsAreThoseOfTheStandard) {
  const auto targets = [](std::string_view domain) {
    const WalkTargets made(domain);
    std::string out;
    for (std::size_t i = 0; i < made.size(); ++i) out += std::string(made[i]) + " ";
    return out;
  };
  EXPECT_EQ(targets("example"), "example ");
  EXPECT_EQ(targets("example.com"), "example.com com ");
  EXPECT_EQ(targets("a.b.c.d.e.f.g"), "a.b.c.d.e.f.g b.c.d.e.f.g c.d.e.f.g d.e.f.g e.f.g f.g g ");
  EXPECT_EQ(targets("a.b.c.d.e.f.g.h"),
            "a.b.c.d.e.f.g.h b.c.d.e.f.g.h c.d.e.f.g.h d.e.f.g.h e.f.g.h f.g.h g.h h ");
  EXPECT_EQ(targets("a.b.c.d.e.f.g.h.i.j.mail.example.com"),
            "a.b.c.d.e.f.g.h.i.j.mail.example.com g.h.i.j.mail.example.com h.i.j.mail.example.com "
            "i.j.mail.example.com j.mail.example.com mail.example.com example.com com ");
}

TEST_F(DmarcEvaluatorTest, TheDomainsOwnRecordApplies) {
  const Outcome& outcome = run(R"(
_dmarc.example.com TXT "v=DMARC1; p=none; sp=quarantine"
_dmarc.news.example.com TXT "v=DMARC1; p=reject; sp=none; np=none"
)",
                               "News.Example.COM");
  EXPECT_EQ(outcome.result, Result::kFail);
  EXPECT_EQ(outcome.from_domain, "news.example.com");
  EXPECT_TRUE(outcome.record_found);
  EXPECT_EQ(outcome.record, "v=DMARC1; p=reject; sp=none; np=none");
  EXPECT_EQ(outcome.record_domain, "news.example.com");
  EXPECT_EQ(outcome.organizational_domain, "example.com");
  EXPECT_EQ(outcome.policy, Policy::kReject);
  EXPECT_EQ(rounds, 1);
}

TEST_F(DmarcEvaluatorTest, TheOrganizationalDomainsRecordAppliesBelowIt) {
  const std::string zone = R"(
_dmarc.example.com TXT "v=DMARC1; p=reject; sp=quarantine; np=none"
_dmarc.b.example.com TXT "v=DMARC1; p=none"
there.b.example.com A 192.0.2.1
)";
  EXPECT_EQ(run(zone, "there.b.example.com").policy, Policy::kQuarantine);
  EXPECT_EQ(evaluator.outcome().record_domain, "example.com");
  EXPECT_FALSE(evaluator.outcome().nonexistent);
  EXPECT_EQ(run(zone, "gone.b.example.com").policy, Policy::kNone);
  EXPECT_TRUE(evaluator.outcome().nonexistent);
  EXPECT_EQ(run(zone, "example.com").policy, Policy::kReject);
  EXPECT_EQ(evaluator.outcome().subdomain_policy, Policy::kQuarantine);
  EXPECT_EQ(evaluator.outcome().np, Policy::kNone);
}

TEST_F(DmarcEvaluatorTest, ExistenceIsAskedOnlyWhereItMatters) {
  const auto asks_existence = [&](const std::string& record, const std::string& from) {
    run("_dmarc.example.com TXT \"" + record + "\"\n", from);
    return std::ranges::find(asked, from + " A") != asked.end();
  };
  EXPECT_TRUE(asks_existence("v=DMARC1; p=reject; np=none", "a.example.com"));
  EXPECT_TRUE(asks_existence("v=DMARC1; p=none; sp=quarantine; np=reject", "a.example.com"));
  EXPECT_FALSE(asks_existence("v=DMARC1; p=reject", "a.example.com"));
  EXPECT_FALSE(asks_existence("v=DMARC1; p=none; sp=reject; np=reject", "a.example.com"));
  EXPECT_FALSE(asks_existence("v=DMARC1; p=reject; np=none", "example.com"));
}

// RFC 9989 A.4, RFC 8020.
TEST_F(DmarcEvaluatorTest, AnyRecordAtAllMakesADomainExist) {
  const std::string record = "_dmarc.example.com TXT \"v=DMARC1; p=none; np=reject\"\n";
  EXPECT_EQ(run(record, "a.example.com").policy, Policy::kReject);
  for (const std::string_view data : {"TXT \"hello\"", "MX 10 mx.example.com", "A 192.0.2.1",
                                      "AAAA 2001:db8::1", "CNAME nowhere.example.net"}) {
    const std::string zone = record + "a.example.com " + std::string(data) + "\n";
    EXPECT_EQ(run(zone, "a.example.com").policy, Policy::kNone) << data;
  }
}

TEST_F(DmarcEvaluatorTest, PublicSuffixes) {
  const std::string zone = R"(
_dmarc.bank.example TXT "v=DMARC1; p=reject; sp=quarantine; psd=y"
_dmarc.giant.bank.example TXT "v=DMARC1; p=none"
_dmarc.mail.giant.bank.example TXT "v=DMARC1; p=none"
_dmarc.a.mega.bank.example TXT "v=DMARC1; p=none; aspf=s"
)";
  EXPECT_EQ(run(zone, "giant.bank.example").organizational_domain, "giant.bank.example");
  EXPECT_EQ(evaluator.outcome().record_domain, "giant.bank.example");
  // Its own suffix has the policy where the organizational domain has none.
  EXPECT_EQ(run(zone, "mega.bank.example").organizational_domain, "mega.bank.example");
  EXPECT_EQ(evaluator.outcome().record_domain, "bank.example");
  EXPECT_EQ(evaluator.outcome().policy, Policy::kQuarantine);
  // A record between the From domain and the organizational domain counts for nothing.
  EXPECT_EQ(run(zone, "x.a.mega.bank.example").organizational_domain, "mega.bank.example");
  EXPECT_EQ(evaluator.outcome().record_domain, "bank.example");
  // The suffix itself sends mail: its own record, its own organizational domain.
  EXPECT_EQ(run(zone, "bank.example").organizational_domain, "bank.example");
  EXPECT_EQ(evaluator.outcome().policy, Policy::kReject);
  EXPECT_EQ(run(zone, "giant.bank.example", {.spf = {"mail.giant.bank.example"}}).result,
            Result::kPass);
  EXPECT_EQ(run(zone, "giant.bank.example", {.spf = {"mega.bank.example"}}).result, Result::kFail);
  EXPECT_EQ(run(zone, "giant.bank.example", {.spf = {"bank.example"}}).result, Result::kFail);
}

TEST_F(DmarcEvaluatorTest, PsdNoEndsTheWalk) {
  const std::string zone = R"(
_dmarc.example.com TXT "v=DMARC1; p=reject"
_dmarc.dept.example.com TXT "v=DMARC1; p=quarantine; psd=n"
)";
  EXPECT_EQ(run(zone, "a.dept.example.com").organizational_domain, "dept.example.com");
  EXPECT_EQ(evaluator.outcome().policy, Policy::kQuarantine);
  EXPECT_EQ(run(zone, "a.dept.example.com", {.dkim = {"example.com"}}).result, Result::kFail);
  EXPECT_EQ(run(zone, "a.dept.example.com", {.dkim = {"b.dept.example.com"}}).result,
            Result::kPass);
  EXPECT_EQ(run(zone, "example.com", {.dkim = {"dept.example.com"}}).result, Result::kFail);
  EXPECT_EQ(run(zone, "example.com", {.dkim = {"other.example.com"}}).result, Result::kPass);
}

TEST_F(DmarcEvaluatorTest, StrictAlignmentIsEquality) {
  const std::string zone = "_dmarc.example.com TXT \"v=DMARC1; p=reject; adkim=s; aspf=r\"\n";
  EXPECT_EQ(run(zone, "example.com", {.dkim = {"mail.example.com"}}).result, Result::kFail);
  EXPECT_EQ(run(zone, "example.com", {.spf = {"mail.example.com"}}).result, Result::kPass);
  EXPECT_EQ(evaluator.outcome().aligned_spf, "mail.example.com");
  EXPECT_EQ(run(zone, "example.com", {.dkim = {"EXAMPLE.com."}}).result, Result::kPass);
  EXPECT_EQ(evaluator.outcome().aligned_dkim, "example.com");
  EXPECT_EQ(evaluator.outcome().aligned_spf, "");
}

TEST_F(DmarcEvaluatorTest, AlignmentIsByLabelsAndNotByBytes) {
  const std::string zone = R"(
_dmarc.example.com TXT "v=DMARC1; p=reject"
_dmarc.com TXT "v=DMARC1; p=none; psd=y"
)";
  for (const std::string& domain :
       {std::string("notexample.com"), std::string("example.com.evil.net"), std::string("com"),
        std::string(), std::string("."), std::string("xexample.com"), std::string("example.co"),
        std::string("ple.com"), std::string("example.com\0.evil.net", 21),
        std::string("example..com"), std::string("[192.0.2.1]")}) {
    EXPECT_EQ(run(zone, "example.com", {.spf = {domain}}).result, Result::kFail) << domain;
  }
  const std::string nul("sub\0.example.com", 16);
  EXPECT_EQ(run(zone, "example.com", {.dkim = {nul}}).result, Result::kPass);
}

TEST_F(DmarcEvaluatorTest, FewRoundTripsAndFewQuestions) {
  const Zone zone = Zone::parse("_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n");
  run(zone, "example.com", {.spf = {"example.com"}, .dkim = {"example.com"}});
  EXPECT_EQ(rounds, 1);
  EXPECT_EQ(asked.size(), 2U);
  run(zone, "mail.example.com", {.spf = {"example.com"}, .dkim = {"mail.example.com"}});
  EXPECT_EQ(rounds, 1);
  EXPECT_EQ(asked.size(), 3U);
  run(zone, "example.com", {.spf = {"b.example.com"}, .dkim = {"c.d.example.com", "evil.net"}});
  EXPECT_EQ(rounds, 2);
  EXPECT_EQ(asked.size(), 2U + 1 + 2);
  EXPECT_EQ(evaluator.outcome().aligned_dkim, "c.d.example.com");
  run(zone, "a.b.c.d.e.f.g.h.i.j.example.com", {.spf = {"evil.net"}});
  EXPECT_EQ(rounds, 2);
  EXPECT_EQ(asked.size(), 8U);
  EXPECT_EQ(evaluator.outcome().result, Result::kFail);
}

TEST_F(DmarcEvaluatorTest, ExpectedDomainsAreAskedAboutEarly) {
  const Zone zone = Zone::parse("_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n");
  evaluator.begin("example.com");
  for (const std::string_view domain :
       {"b.example.com", "example.com", "evil.net", "b.example.com"}) {
    evaluator.expect(domain);
  }
  answer_all(zone);
  EXPECT_EQ(asked, (std::vector<std::string>{"_dmarc.example.com TXT", "_dmarc.com TXT",
                                             "_dmarc.b.example.com TXT"}));
  const Authenticated pass{Authenticated::Method::kSpf, "b.example.com"};
  evaluator.authenticated({&pass, 1});
  EXPECT_TRUE(evaluator.step());
  EXPECT_EQ(evaluator.outcome().result, Result::kPass);
}

TEST_F(DmarcEvaluatorTest, ClaimsDoNotUseUpTheQuestions) {
  const Zone zone = Zone::parse("_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n");
  evaluator.begin("example.com");
  for (int i = 0; i < 100; ++i) {
    evaluator.expect("a.b.c.d.e." + std::to_string(i) + ".example.com");
  }
  answer_all(zone);
  EXPECT_LT(asked.size(), 20U);
  const Authenticated pass{Authenticated::Method::kDkim, "x.y.z.example.com"};
  evaluator.authenticated({&pass, 1});
  answer_all(zone);
  EXPECT_EQ(evaluator.outcome().result, Result::kPass);
}

TEST_F(DmarcEvaluatorTest, NothingFoundIsNone) {
  EXPECT_EQ(run("", "nothing.example").result, Result::kNone);
  EXPECT_FALSE(evaluator.outcome().record_found);
  EXPECT_EQ(evaluator.outcome().organizational_domain, "nothing.example");
  EXPECT_EQ(run("_dmarc.a.example TXT \"hello\"\n", "a.example").result, Result::kNone);
  EXPECT_EQ(run("_dmarc.a.example TXT \"v=DMARC1; p=reject\"\n"
                "_dmarc.a.example TXT \"v=DMARC1; p=none\"\n",
                "a.example")
                .result,
            Result::kNone);
  EXPECT_EQ(run("_dmarc.a.example TXT \"v=spf1 -all\"\n"
                "_dmarc.a.example TXT \"v=DMARC1; \" \"p=reject\"\n",
                "a.example")
                .policy,
            Policy::kReject);
}

TEST_F(DmarcEvaluatorTest, WhatIsNoDomainNameHasNoPolicy) {
  for (const std::string_view from : {"", ".", "[192.0.2.1]", "a..example", ".example"}) {
    EXPECT_EQ(run("_dmarc.example TXT \"v=DMARC1; p=reject\"\n", std::string(from)).result,
              Result::kNone)
        << from;
    EXPECT_TRUE(asked.empty());
  }
  EXPECT_EQ(run("", std::string(64, 'a') + ".example").result, Result::kNone);
  // The name fits, "_dmarc." before it does not: there is nothing to ask about it.
  const std::string label = std::string(60, 'a') + ".";
  const std::string longest = label + label + label + label + "example";
  ASSERT_EQ(longest.size(), 251U);
  EXPECT_EQ(run("_dmarc.example TXT \"v=DMARC1; p=reject\"\n", longest).result, Result::kFail);
  EXPECT_EQ(asked.size(), 4U);
}

TEST_F(DmarcEvaluatorTest, ARecordThatCannotBeUsedIsPermerror) {
  EXPECT_EQ(
      run("_dmarc.a.example TXT \"v=DMARC1; p=bob\"\n", "a.example", {.spf = {"a.example"}}).result,
      Result::kPermerror);
  EXPECT_EQ(evaluator.outcome().policy, Policy::kNone);
  EXPECT_NE(evaluator.outcome().problem, "");
  EXPECT_EQ(run("_dmarc.a.example TXT \"v=DMARC1; p=bob; rua=mailto:x@a.example\"\n", "a.example",
                {.spf = {"a.example"}})
                .result,
            Result::kPass);
}

TEST_F(DmarcEvaluatorTest, TestModeWeakensWhatIsApplied) {
  const std::string zone = R"(
_dmarc.example.com TXT "v=DMARC1; p=reject; sp=quarantine; t=y"
a.example.com A 192.0.2.1
)";
  EXPECT_EQ(run(zone, "example.com").policy, Policy::kQuarantine);
  EXPECT_EQ(evaluator.outcome().published_policy, Policy::kReject);
  EXPECT_TRUE(evaluator.outcome().testing);
  EXPECT_EQ(run(zone, "a.example.com").policy, Policy::kNone);
  EXPECT_EQ(evaluator.outcome().published_policy, Policy::kQuarantine);
}

TEST_F(DmarcEvaluatorTest, AnUnansweredQuestionIsTemperrorOnlyWhereItMatters) {
  const std::string record = "_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n";
  EXPECT_EQ(run("_dmarc.example.com ! servfail\n", "example.com", {.spf = {"example.com"}}).result,
            Result::kTemperror);
  EXPECT_NE(evaluator.outcome().problem, "");
  // The parent of a domain with a record decides alignment only.
  const std::string parent = record + "_dmarc.com ! servfail\n";
  EXPECT_EQ(run(parent, "example.com", {.dkim = {"example.com"}}).result, Result::kPass);
  EXPECT_EQ(run(parent, "example.com").result, Result::kFail);
  EXPECT_EQ(run(parent, "example.com", {.spf = {"evil.net"}}).result, Result::kFail);
  // Whatever stands above, it is above both; with another domain there it may be.
  EXPECT_EQ(run(parent, "example.com", {.spf = {"a.example.com"}}).result, Result::kPass);
  EXPECT_EQ(run(parent, "example.com", {.spf = {"other.com"}}).result, Result::kTemperror);
  EXPECT_EQ(run(parent, "example.com").organizational_domain, "");
  // What lies above psd=n is not needed.
  EXPECT_EQ(run("_dmarc.example.com TXT \"v=DMARC1; p=reject; psd=n\"\n_dmarc.com ! servfail\n",
                "example.com", {.spf = {"a.example.com"}})
                .result,
            Result::kPass);
  // An identifier's own walk.
  const std::string identifier = record + "_dmarc.a.example.com ! servfail\n";
  EXPECT_EQ(run(identifier, "example.com", {.spf = {"a.example.com"}}).result, Result::kTemperror);
  EXPECT_EQ(
      run(identifier, "example.com", {.spf = {"a.example.com"}, .dkim = {"example.com"}}).result,
      Result::kPass);
}

// The sender chooses which of its victim's names is asked about, so one without an answer must not
// hide the policy that another one has.
TEST_F(DmarcEvaluatorTest, APolicyCountsWhereverOnTheWalkItIsFound) {
  const std::string record = "_dmarc.example.com TXT \"v=DMARC1; p=none; sp=reject\"\n";
  for (const std::string_view missed :
       {"_dmarc.a.b.example.com ! servfail\n", "_dmarc.b.example.com ! servfail\n",
        "_dmarc.a.b.example.com ! silent\n_dmarc.b.example.com ! silent\n",
        "_dmarc.com ! servfail\n", "_dmarc.b.example.com ! servfail\n_dmarc.com ! servfail\n"}) {
    const std::string zone = record + std::string(missed);
    const Outcome& outcome = run(zone, "a.b.example.com", {.spf = {"evil.net"}});
    EXPECT_EQ(outcome.result, Result::kTemperror) << missed;
    EXPECT_TRUE(outcome.record_found) << missed;
    EXPECT_EQ(outcome.record_domain, "example.com") << missed;
    EXPECT_EQ(outcome.policy, Policy::kReject) << missed;
    EXPECT_TRUE(outcome.policy_uncertain) << missed;
    EXPECT_FALSE(outcome.not_asked) << missed;
    EXPECT_NE(outcome.problem.find("the policy at"), std::string::npos) << outcome.problem;
    EXPECT_EQ(decide(&outcome, {}), Disposition::kQuarantine) << missed;
    // What the organization vouches for passes by the record that is known.
    EXPECT_EQ(run(zone, "a.b.example.com", {.dkim = {"a.b.example.com"}}).result, Result::kPass);
    EXPECT_EQ(run(zone, "a.b.example.com", {.dkim = {"example.com"}}).result, Result::kPass);
  }
  // A record that is found and asks for nothing says nothing of the one that was not.
  const Outcome& none =
      run("_dmarc.example.com TXT \"v=DMARC1; p=none\"\n"
          "_dmarc.a.example.com ! servfail\n",
          "a.example.com");
  EXPECT_EQ(none.result, Result::kTemperror);
  EXPECT_EQ(decide(&none, {}), Disposition::kAccept);
  EXPECT_EQ(decide(&none, {.on_temperror = Disposition::kTempfail}), Disposition::kTempfail);
  // The domain's own record needs no other, and who cannot be aligned is not.
  EXPECT_EQ(run("_dmarc.a.example.com TXT \"v=DMARC1; p=reject\"\n_dmarc.example.com ! servfail\n",
                "a.example.com", {.spf = {"evil.net"}})
                .result,
            Result::kFail);
}

TEST_F(DmarcEvaluatorTest, GivingUpLeavesThePolicyThatHasCome) {
  const Zone zone = Zone::parse("_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n");
  evaluator.begin("a.example.com");
  evaluator.authenticated({});
  EXPECT_FALSE(evaluator.step());
  for (const dns::Question& question : evaluator.questions()) {
    if (question.name.to_text() == "_dmarc.a.example.com") continue;
    evaluator.supply(question, zone.answer(question));
  }
  evaluator.give_up();
  EXPECT_EQ(evaluator.outcome().result, Result::kTemperror);
  EXPECT_EQ(evaluator.outcome().record_domain, "example.com");
  EXPECT_EQ(decide(&evaluator.outcome(), {}), Disposition::kQuarantine);
}

dns::AnswerPtr not_asked() {
  auto answer = std::make_shared<dns::Answer>();
  answer->not_asked = true;
  return answer;
}

// One name of all is not asked because of our limits.
TEST_F(DmarcEvaluatorTest, WhatWasNotAskedIsToldOnlyWhereItCouldMakeADifference) {
  const Zone zone = Zone::parse(R"(
_dmarc.example.com TXT "v=DMARC1; p=reject"
_dmarc.evil.com TXT "v=DMARC1; p=none"
)");
  const auto outcome = [&](const std::string& from, const std::string& busy,
                           std::vector<Authenticated> domains) -> const Outcome& {
    evaluator.begin(from);
    evaluator.expect("x.example.com");
    evaluator.authenticated(domains);
    while (!evaluator.step()) {
      for (const dns::Question& question : evaluator.questions()) {
        const bool is_busy = question.name.to_text() == busy;
        evaluator.supply(question, is_busy ? not_asked() : zone.answer(question));
      }
    }
    return evaluator.outcome();
  };
  using Method = Authenticated::Method;
  // The policy, wherever it stands.
  EXPECT_TRUE(outcome("example.com", "_dmarc.example.com", {}).not_asked);
  EXPECT_TRUE(outcome("a.example.com", "_dmarc.example.com", {}).not_asked);
  EXPECT_TRUE(outcome("a.example.com", "_dmarc.a.example.com", {}).not_asked);
  EXPECT_EQ(decide(&evaluator.outcome(), {}), Disposition::kTempfail);
  EXPECT_FALSE(outcome("a.example.com", "_dmarc.a.example.com", {{Method::kSpf, "a.example.com"}})
                   .not_asked);
  // The walk of one that may be aligned.
  EXPECT_TRUE(
      outcome("example.com", "_dmarc.x.example.com", {{Method::kDkim, "x.example.com"}}).not_asked);
  // A walk that was asked ahead and turned out not to be needed.
  EXPECT_EQ(outcome("example.com", "_dmarc.x.example.com", {}).result, Result::kFail);
  EXPECT_FALSE(
      outcome("example.com", "_dmarc.x.example.com", {{Method::kDkim, "example.com", true}})
          .not_asked);
  EXPECT_EQ(evaluator.outcome().result, Result::kTemperror);
  // SPF or a key, for a domain that is aligned or not.
  for (const Method method : {Method::kSpf, Method::kDkim}) {
    const auto busy = [&](std::string_view domain) {
      return Authenticated{method, domain, true, true};
    };
    EXPECT_TRUE(outcome("example.com", "", {busy("example.com")}).not_asked);
    EXPECT_TRUE(outcome("a.example.com", "", {busy("b.example.com")}).not_asked);
    EXPECT_EQ(outcome("example.com", "", {busy("evil.com")}).result, Result::kFail);
    EXPECT_EQ(
        outcome("example.com", "", {busy("example.com"), {Method::kDkim, "example.com"}}).result,
        Result::kPass);
    // Beside one that DNS has no answer about.
    EXPECT_TRUE(
        outcome("example.com", "", {{Method::kSpf, "example.com", true}, busy("example.com")})
            .not_asked);
    EXPECT_EQ(decide(&evaluator.outcome(), {}), Disposition::kTempfail);
    EXPECT_EQ(decide(&evaluator.outcome(), {.on_reject = Disposition::kAccept}),
              Disposition::kAccept);
  }
}

TEST_F(DmarcEvaluatorTest, UnknownExistenceNeverMakesAFailure) {
  const std::string zone = R"(
_dmarc.example.com TXT "v=DMARC1; p=none; np=reject"
a.example.com ! servfail
)";
  EXPECT_EQ(run(zone, "a.example.com").result, Result::kTemperror);
  EXPECT_EQ(evaluator.outcome().policy, Policy::kNone);
  EXPECT_EQ(run(zone, "a.example.com", {.spf = {"example.com"}}).result, Result::kPass);
}

TEST_F(DmarcEvaluatorTest, AnUndecidedIdentifierCountsOnlyIfItAligns) {
  const std::string zone = "_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n";
  EXPECT_EQ(run(zone, "example.com", {.undecided_dkim = {"example.com"}}).result,
            Result::kTemperror);
  EXPECT_EQ(run(zone, "example.com", {.undecided_spf = {"a.example.com"}}).result,
            Result::kTemperror);
  EXPECT_EQ(run(zone, "example.com", {.undecided_dkim = {"evil.net"}}).result, Result::kFail);
  EXPECT_EQ(run(zone, "example.com", {.spf = {"b.example.com"}, .undecided_dkim = {"example.com"}})
                .result,
            Result::kPass);
  EXPECT_EQ(evaluator.outcome().aligned_dkim, "");
  EXPECT_EQ(evaluator.outcome().aligned_spf, "b.example.com");
}

TEST_F(DmarcEvaluatorTest, GivingUpIsTemperrorUnlessTheResultIsClear) {
  evaluator.begin("example.com");
  EXPECT_FALSE(evaluator.step());
  evaluator.give_up();
  EXPECT_TRUE(evaluator.done());
  EXPECT_EQ(evaluator.outcome().result, Result::kTemperror);

  // The policy is known, and nothing else is needed to see that nothing is aligned.
  const Zone zone = Zone::parse("_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n");
  for (const auto& [domain, expected] :
       {std::pair{"evil.net", Result::kFail}, std::pair{"example.com", Result::kPass},
        std::pair{"a.example.com", Result::kTemperror}}) {
    evaluator.begin("example.com");
    answer_all(zone);
    asked.clear();
    evaluator.give_up();
    EXPECT_FALSE(evaluator.done());
    const Authenticated pass{Authenticated::Method::kSpf, domain};
    evaluator.authenticated({&pass, 1});
    EXPECT_TRUE(evaluator.step());
    EXPECT_TRUE(evaluator.done());
    EXPECT_EQ(evaluator.outcome().result, expected) << domain;
  }
}

class DmarcBudgetTest : public DmarcEvaluatorTest {
 protected:
  DmarcBudgetTest() : DmarcEvaluatorTest({.dns_questions = 5}) {}
};

TEST_F(DmarcBudgetTest, TheBudgetOfQuestionsHolds) {
  const Zone zone = Zone::parse("_dmarc.example.com TXT \"v=DMARC1; p=reject\"\n");
  EXPECT_EQ(run(zone, "a.b.c.d.example.com").result, Result::kTemperror);
  EXPECT_LE(asked.size(), 5U);
  EXPECT_TRUE(evaluator.outcome().not_asked);
  EXPECT_EQ(decide(&evaluator.outcome(), {}), Disposition::kTempfail);
  Passes many;
  for (int i = 0; i < 20; ++i) many.dkim.push_back("x" + std::to_string(i) + ".y.example.com");
  EXPECT_EQ(run(zone, "example.com", many).result, Result::kPass);
  EXPECT_LE(asked.size(), 5U);
}

TEST_F(DmarcEvaluatorTest, IdentifiersKnownFromTheStartMakeNoDifference) {
  const Zone zone = Zone::parse(R"(
_dmarc.example.com TXT "v=DMARC1; p=reject; sp=none; np=quarantine"
b.example.com A 192.0.2.1
)");
  const Passes passes{.spf = {"x.b.example.com"}, .dkim = {"other.net"}};
  const Outcome late = run(zone, "b.example.com", passes);
  const Outcome early = run(zone, "b.example.com", passes, false);
  EXPECT_EQ(early.result, late.result);
  EXPECT_EQ(early.aligned_spf, late.aligned_spf);
  EXPECT_EQ(early.policy, late.policy);
}

TEST_F(DmarcEvaluatorTest, TheWalkIsToldStepByStep) {
  run(R"(
_dmarc.example.com TXT "v=DMARC1; p=reject; np=none"
_dmarc.a.example.com TXT "v=DMARC1; p=none"
_dmarc.a.example.com TXT "v=DMARC1; p=reject"
)",
      "a.example.com", {.spf = {"b.example.com"}});
  const std::vector<WalkStep> walk = evaluator.walk();
  ASSERT_EQ(walk.size(), 7U);
  EXPECT_EQ(walk[0].name, "_dmarc.a.example.com");
  EXPECT_EQ(walk[0].record, "");
  EXPECT_NE(walk[0].note.find("several"), std::string::npos);
  EXPECT_EQ(walk[1].record, "v=DMARC1; p=reject; np=none");
  EXPECT_EQ(walk[2].name, "_dmarc.com");
  EXPECT_EQ(walk[2].status, dns::Status::kNoName);
  EXPECT_EQ(walk[3].name, "a.example.com");
  EXPECT_NE(walk[3].note.find("does not exist"), std::string::npos);
  EXPECT_EQ(walk[4].domain, "b.example.com");
  EXPECT_EQ(walk[4].name, "_dmarc.b.example.com");
  EXPECT_FALSE(walk[4].repeated);
  EXPECT_TRUE(walk[5].repeated);
}

// Undecided comes to no more than a failure would, and what was not even asked for is put off.
TEST(DispositionTest, WhatFollowsFromATemperror) {
  constexpr auto kAccept = Disposition::kAccept;
  constexpr auto kQuarantine = Disposition::kQuarantine;
  constexpr auto kTempfail = Disposition::kTempfail;
  const DispositionRules defaults;
  const DispositionRules accept{.on_temperror = kAccept};
  const DispositionRules tempfail{.on_temperror = kTempfail};
  const DispositionRules never{
      .on_reject = kAccept, .on_quarantine = kAccept, .on_temperror = kTempfail};
  Outcome outcome;
  outcome.result = Result::kTemperror;
  const auto expect = [&](std::array<Disposition, 4> wanted) {
    EXPECT_EQ(decide(&outcome, defaults), wanted[0]);
    EXPECT_EQ(decide(&outcome, accept), wanted[1]);
    EXPECT_EQ(decide(&outcome, tempfail), wanted[2]);
    EXPECT_EQ(decide(&outcome, never), wanted[3]);
  };
  expect({kAccept, kAccept, kTempfail, kAccept});  // the policy is not known
  outcome.record_found = true;
  expect({kAccept, kAccept, kAccept, kAccept});
  for (const Policy policy : {Policy::kQuarantine, Policy::kReject}) {
    outcome.policy = policy;
    expect({kQuarantine, kAccept, kTempfail, kAccept});
  }
  outcome.not_asked = true;
  expect({kTempfail, kTempfail, kTempfail, kAccept});
  outcome.policy = Policy::kNone;
  expect({kAccept, kAccept, kAccept, kAccept});
}

}  // namespace
}  // namespace mxring::mailauth::dmarc
