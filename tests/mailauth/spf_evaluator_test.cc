// What an evaluation may cost, who is asked about whom, and what is reported.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "dns/transcript.h"
#include "mailauth/spf/evaluator.h"
#include "tests/dns/zone.h"

namespace mxring::mailauth::spf {
namespace {

using test::Zone;

struct Check {
  std::string ip = "192.0.2.1";
  std::string mail_from = "user@start.example";
  std::string helo = "helo.example";
  bool explain = true;
};

class SpfEvaluatorTest : public testing::Test {
 protected:
  const Outcome& run(const Zone& zone, const Check& check = {}) {
    evaluator.begin({.client = *base::IpAddress::parse(check.ip),
                     .mail_from = check.mail_from,
                     .helo = check.helo,
                     .receiver = "rx.example",
                     .explain = check.explain});
    questions = 0;
    std::set<std::string> seen;
    while (!evaluator.step()) {
      EXPECT_FALSE(evaluator.questions().empty());
      for (const dns::Question& question : evaluator.questions()) {
        ++questions;
        EXPECT_TRUE(
            seen.insert(question.name.to_text() + std::string(type_word(question.type))).second)
            << "asked twice";
        evaluator.supply(question, zone.answer(question));
      }
    }
    EXPECT_EQ(questions, evaluator.outcome().questions);
    EXPECT_LE(questions, base::Limits().dns_questions);
    EXPECT_LE(evaluator.outcome().lookups, 10U);
    EXPECT_LE(evaluator.outcome().voids, 2U);
    return evaluator.outcome();
  }
  Result result(const std::string& zone, const Check& check = {}) {
    return run(Zone::parse(zone), check).result;
  }

  Evaluator evaluator;
  std::size_t questions = 0;
};

TEST_F(SpfEvaluatorTest, ReportsWhatDecided) {
  const Zone zone = Zone::parse(R"(
start.example TXT "v=spf1 a:none.example include:inner.example ip4:192.0.2.0/24 -all"
inner.example TXT "v=spf1 mx -all"
inner.example MX 10 mx.inner.example
mx.inner.example A 198.51.100.1
)");
  const Outcome pass = run(zone);
  EXPECT_EQ(pass.result, Result::kPass);
  EXPECT_EQ(pass.mechanism, "ip4:192.0.2.0/24");
  EXPECT_EQ(pass.domain, "start.example");
  EXPECT_EQ(pass.identity, Identity::kMailFrom);
  EXPECT_EQ(pass.lookups, 3U);
  EXPECT_EQ(pass.voids, 1U);
  EXPECT_EQ(pass.questions, 5U);
  const Outcome included = run(zone, {.ip = "198.51.100.1"});
  EXPECT_EQ(included.mechanism, "include:inner.example");
  EXPECT_EQ(run(zone, {.ip = "203.0.113.1"}).mechanism, "all");
  EXPECT_EQ(run(Zone::parse("start.example TXT \"v=spf1 a:b.example\"\n")).mechanism, "default");
}

TEST_F(SpfEvaluatorTest, TheNullReversePathChecksTheHeloName) {
  const Zone zone = Zone::parse(
      "helo.example TXT \"v=spf1 exists:%{l}.%{o}.x.example -all\"\n"
      "postmaster.helo.example.x.example A 127.0.0.2\n");
  const Outcome& outcome = run(zone, {.mail_from = ""});
  EXPECT_EQ(outcome.result, Result::kPass);
  EXPECT_EQ(outcome.identity, Identity::kHelo);
  EXPECT_EQ(outcome.domain, "helo.example");
}

TEST_F(SpfEvaluatorTest, DomainsThatCannotBeChecked) {
  for (const char* mail_from :
       {"a@single", "a@[192.0.2.1]", "a@", "a@x..example", "@", "a@b c.example", "a@\xE4.example",
        "a@-\xC3\xA4.example", "a@\xC3\xA4..example", "a@.example"}) {
    EXPECT_EQ(result("", {.mail_from = mail_from}), Result::kNone) << mail_from;
    EXPECT_EQ(questions, 0U);
  }
  EXPECT_EQ(result("", {.mail_from = "", .helo = "[192.0.2.1]"}), Result::kNone);
}

TEST_F(SpfEvaluatorTest, UnicodeDomainsAreAskedForInALabels) {
  const Zone zone = Zone::parse(R"(
xn--kln-sna.example TXT "v=spf1 exists:%{o}.%{d}.%{h}.x.example -all exp=why.example"
xn--kln-sna.example.xn--kln-sna.example.xn--mx-gka.example.x.example A 127.0.0.2
why.example TXT "%{o} %{h}"
)");
  const Outcome& outcome =
      run(zone, {.mail_from = "a@K\xC3\x96ln.example", .helo = "mx\xC3\xB6.example"});
  EXPECT_EQ(outcome.result, Result::kPass) << outcome.explanation;
  EXPECT_EQ(outcome.domain, "xn--kln-sna.example");
  const Outcome& helo = run(zone, {.mail_from = "", .helo = "k\xC3\xB6ln.example"});
  EXPECT_EQ(helo.result, Result::kFail);
  EXPECT_EQ(helo.identity, Identity::kHelo);
  EXPECT_EQ(helo.explanation, "xn--kln-sna.example xn--kln-sna.example");
}

// RFC 8616 4.
TEST_F(SpfEvaluatorTest, TermsThatNeedALocalPartInUnicodeMatchNothing) {
  const Zone zone = Zone::parse(R"(
start.example TXT "v=spf1 exists:%{L}.l.example a:%{s}.s.example include:%{l1r-}.i.example ~all"
redirected.example TXT "v=spf1 redirect=%{l}.r.example"
explained.example TXT "v=spf1 -all exp=%{l}.e.example"
)");
  EXPECT_EQ(run(zone, {.mail_from = "jos\xC3\xA9@start.example"}).result, Result::kSoftfail);
  EXPECT_EQ(questions, 1U);
  EXPECT_EQ(run(zone, {.mail_from = "jos\xC3\xA9@redirected.example"}).result, Result::kPermerror);
  EXPECT_EQ(run(zone, {.mail_from = "jos\xC3\xA9@explained.example"}).result, Result::kFail);
  EXPECT_EQ(questions, 1U);
}

TEST_F(SpfEvaluatorTest, MappedAddressesAreIpv4) {
  const std::string zone = "start.example TXT \"v=spf1 ip4:192.0.2.1 -all\"\n";
  EXPECT_EQ(result(zone, {.ip = "::ffff:192.0.2.1"}), Result::kPass);
  EXPECT_EQ(result("start.example TXT \"v=spf1 ip6:::ffff:192.0.2.1 -all\"\n"), Result::kFail);
  EXPECT_EQ(result("start.example TXT \"v=spf1 ip6:::/0 -all\"\n"), Result::kFail);
}

TEST_F(SpfEvaluatorTest, SelfIncludesAndRedirectsEnd) {
  EXPECT_EQ(result("start.example TXT \"v=spf1 include:start.example -all\"\n"),
            Result::kPermerror);
  EXPECT_EQ(questions, 1U);
  EXPECT_EQ(result("start.example TXT \"v=spf1 redirect=start.example\"\n"), Result::kPermerror);
  EXPECT_EQ(result("start.example TXT \"v=spf1 include:%{d} include:%{o} redirect=%{d}\"\n"),
            Result::kPermerror);
}

TEST_F(SpfEvaluatorTest, AnIncludeBombIsBounded) {
  // Every level includes ten others: 10^10 evaluations if nobody counted.
  std::string zone;
  const auto includes = [](const std::string& suffix) {
    std::string record = "\"v=spf1";
    for (int i = 0; i < 10; ++i) record += " include:" + std::to_string(i) + "." + suffix;
    return record + " -all\"\n";
  };
  zone += "start.example TXT " + includes("start.example");
  for (int i = 0; i < 10; ++i) {
    const std::string name = std::to_string(i) + ".start.example";
    zone += name + " TXT " + includes(name);
    for (int j = 0; j < 10; ++j) {
      zone += std::to_string(j) + "." + name + " TXT \"v=spf1 -all\"\n";
    }
  }
  EXPECT_EQ(result(zone), Result::kPermerror);
  EXPECT_LE(questions, 11U);
}

TEST_F(SpfEvaluatorTest, TenTimesTenExchangersStayInTheBudget) {
  std::string zone = "start.example TXT \"v=spf1";
  std::string hosts;
  for (int i = 0; i < 10; ++i) {
    const std::string domain = "d" + std::to_string(i) + ".example";
    zone += " mx:" + domain;
    for (int j = 0; j < 10; ++j) {
      const std::string host = "m" + std::to_string(j) + "." + domain;
      hosts += domain + " MX 10 " + host + "\n" + host + " A 198.51.100.9\n";
    }
  }
  EXPECT_EQ(result(zone + " -all\"\n" + hosts), Result::kTemperror);
  EXPECT_EQ(questions, base::Limits().dns_questions);
  EXPECT_NE(evaluator.outcome().problem, "");
}

TEST_F(SpfEvaluatorTest, ElevenExchangersAreAnErrorTenAreNot) {
  std::string zone = "start.example TXT \"v=spf1 mx -all\"\nm.example A 198.51.100.9\n";
  for (int i = 0; i < 10; ++i) zone += "start.example MX 10 m.example\n";
  EXPECT_EQ(result(zone), Result::kFail);
  EXPECT_EQ(questions, 3U) << "one host, asked for once";
  EXPECT_EQ(result(zone + "start.example MX 10 m.example\n"), Result::kPermerror);
}

TEST_F(SpfEvaluatorTest, AFloodOfLocalPartsStaysInTheBudget) {
  std::string record;
  for (int i = 0; i < 30; ++i) record += " exists:%{l}.%{l}.%{l}.%{l}.%{l}.x.example";
  EXPECT_EQ(result("start.example TXT \"v=spf1" + record + " -all\"\n",
                   {.mail_from = std::string(64, 'x') + "@start.example"}),
            Result::kPermerror);
  EXPECT_LE(questions, 11U);
}

TEST_F(SpfEvaluatorTest, ManyNamesOfAClientStayInTheBudget) {
  std::string zone = "start.example TXT \"v=spf1 ptr ptr:a.example exists:%{p}.%{d} -all\"\n";
  for (int i = 0; i < 60; ++i) {
    zone += "1.2.0.192.in-addr.arpa PTR h" + std::to_string(i) + ".a.example\n";
  }
  EXPECT_EQ(result(zone), Result::kFail);
  EXPECT_LE(questions, 1U + 1U + 10U + 1U);
}

TEST_F(SpfEvaluatorTest, OnlyAddressesThatLeadBackMakeAName) {
  const std::string names =
      "1.2.0.192.in-addr.arpa PTR evil.start.example\n"
      "1.2.0.192.in-addr.arpa PTR good.start.example\n";
  const std::string record = "start.example TXT \"v=spf1 ptr -all\"\n";
  EXPECT_EQ(result(record + names + "evil.start.example A 192.0.2.99\n"), Result::kFail);
  EXPECT_EQ(result(record + names + "good.start.example A 192.0.2.1\n"), Result::kPass);
  // A failure about one name is not one of the check (RFC 7208 5.5).
  EXPECT_EQ(result(record + names +
                   "evil.start.example ! servfail\n"
                   "good.start.example A 192.0.2.1\n"),
            Result::kPass);
}

TEST_F(SpfEvaluatorTest, TheClientsNameIsTheDomainThenOneBelowItThenAny) {
  const std::string record =
      "start.example TXT \"v=spf1 -all exp=why.example\"\nwhy.example TXT \"%{p}\"\n";
  std::string names;
  for (const char* name : {"any.example", "b.start.example", "a.start.example", "start.example"}) {
    names += std::string("1.2.0.192.in-addr.arpa PTR ") + name + "\n";
  }
  const auto name_of = [&](const std::string& addresses) {
    return run(Zone::parse(record + names + addresses)).explanation;
  };
  const std::string any = "any.example A 192.0.2.1\n";
  const std::string below = "a.start.example A 192.0.2.1\nb.start.example A 192.0.2.1\n";
  EXPECT_EQ(name_of(any + below + "start.example A 192.0.2.1\n"), "start.example");
  EXPECT_EQ(name_of(any + below), "b.start.example");
  EXPECT_EQ(name_of(any), "any.example");
  EXPECT_EQ(name_of("any.example A 192.0.2.2\n"), "unknown");
}

TEST_F(SpfEvaluatorTest, VoidTermsAreCountedByTerm) {
  // Three exchangers without an address of the client's family are one term (RFC 7208 4.6.4).
  std::string zone = "start.example TXT \"v=spf1 mx a:n1.example -all\"\n";
  for (const char* host : {"m1.example", "m2.example", "m3.example"}) {
    zone += std::string("start.example MX 10 ") + host + "\n" + host + " AAAA 2001:db8::1\n";
  }
  EXPECT_EQ(result(zone), Result::kFail);
  EXPECT_EQ(evaluator.outcome().voids, 2U);
  EXPECT_EQ(result("start.example TXT \"v=spf1 a:n1.example a:n2.example a:n3.example -all\"\n"),
            Result::kPermerror);
  // The match comes before the third.
  EXPECT_EQ(
      result("start.example TXT \"v=spf1 a:n1.example a:n2.example ip4:192.0.2.1 a:n3.example "
             "-all\"\n"),
      Result::kPass);
}

TEST_F(SpfEvaluatorTest, FailuresOfDnsAreTemporary) {
  EXPECT_EQ(result("start.example ! silent\n"), Result::kTemperror);
  EXPECT_EQ(result("start.example ! servfail\n"), Result::kTemperror);
  for (const char* term : {"a:x.example", "mx:x.example", "exists:x.example", "include:x.example",
                           "redirect=x.example"}) {
    EXPECT_EQ(
        result(std::string("start.example TXT \"v=spf1 ") + term + "\"\nx.example ! servfail\n"),
        Result::kTemperror)
        << term;
  }
}

// Everything that the outcome hangs on, PTR and its names included, which a failure of DNS passes.
TEST_F(SpfEvaluatorTest, WhatWasNotAskedForALimitOfOursIsTold) {
  const Zone zone = Zone::parse(R"(
start.example TXT "v=spf1 a:x.example mx:x.example ptr exists:e.example include:i.example -all"
x.example A 198.51.100.1
x.example MX 10 m.example
m.example A 198.51.100.2
1.2.0.192.in-addr.arpa PTR c.start.example
i.example TXT "v=spf1 a:%{p}.x.example -all"
)");
  auto busy = std::make_shared<dns::Answer>();
  busy->not_asked = true;
  std::size_t asked = 0;
  for (std::size_t missing = 0; missing <= asked; ++missing) {
    evaluator.begin({.client = *base::IpAddress::parse("192.0.2.1"),
                     .mail_from = "a@start.example",
                     .helo = "h.example"});
    asked = 0;
    while (!evaluator.step()) {
      for (const dns::Question& question : evaluator.questions()) {
        evaluator.supply(question, asked++ == missing ? busy : zone.answer(question));
      }
    }
    const bool all = missing == asked;
    EXPECT_EQ(evaluator.outcome().result, all ? Result::kFail : Result::kTemperror) << missing;
    EXPECT_EQ(evaluator.outcome().not_asked, !all) << missing;
    EXPECT_FALSE(!all && evaluator.repeatable());
  }
  EXPECT_EQ(asked, 9U);
}

// A policy that asks more than a message may: the next attempt finds answers in the cache.
TEST_F(SpfEvaluatorTest, KnownAnswersAreNotCountedAsQuestions) {
  std::string text;
  for (int term = 0; term < 9; ++term) {
    const std::string domain = "d" + std::to_string(term) + ".example";
    text += (term == 0 ? "start.example TXT \"v=spf1 mx:" : " mx:") + domain;
  }
  text += " -all\"\n";
  for (int term = 0; term < 9; ++term) {
    for (int host = 0; host < 10; ++host) {
      const std::string name = "h" + std::to_string(term * 10 + host) + ".example";
      text += "d" + std::to_string(term) + ".example MX 10 " + name + "\n";
      text += name + (term * 10 + host == 89 ? " A 192.0.2.1\n" : " A 198.51.100.1\n");
    }
  }
  const Zone zone = Zone::parse(text);
  std::vector<dns::Question> cache;
  int attempts = 0;
  for (Result result = Result::kTemperror; result == Result::kTemperror; ++attempts) {
    ASSERT_LT(attempts, 5);
    std::size_t questions_asked = 0;
    evaluator.begin({.client = *base::IpAddress::parse("192.0.2.1"),
                     .mail_from = "a@start.example",
                     .helo = "h.example"});
    while (!evaluator.step()) {
      for (const dns::Question& question : evaluator.questions()) {
        const bool known = std::ranges::find(cache, question) != cache.end();
        if (!known) cache.push_back(question);
        questions_asked += known ? 0 : 1;
        evaluator.supply(question, zone.answer(question), known);
      }
    }
    result = evaluator.outcome().result;
    EXPECT_EQ(evaluator.outcome().not_asked, result == Result::kTemperror);
    EXPECT_LE(questions_asked, base::Limits().dns_questions);
  }
  EXPECT_EQ(evaluator.outcome().result, Result::kPass);
  EXPECT_EQ(attempts, 3);
}

TEST_F(SpfEvaluatorTest, GivingUpIsTemporaryAndFinal) {
  evaluator.begin({.client = *base::IpAddress::parse("192.0.2.1"),
                   .mail_from = "a@start.example",
                   .helo = "h.example"});
  ASSERT_FALSE(evaluator.step());
  const dns::Question question = evaluator.questions().front();
  evaluator.give_up();
  EXPECT_TRUE(evaluator.step());
  EXPECT_EQ(evaluator.outcome().result, Result::kTemperror);
  evaluator.supply(question, dns::make_failure(dns::Status::kTimeout));
  EXPECT_TRUE(evaluator.step());
  EXPECT_EQ(evaluator.outcome().result, Result::kTemperror);
}

TEST_F(SpfEvaluatorTest, AnswersMayComeInAnyOrderAndTwice) {
  const Zone zone = Zone::parse(R"(
start.example TXT "v=spf1 mx -all"
start.example MX 10 m1.example
start.example MX 20 m2.example
m1.example A 198.51.100.1
m2.example A 192.0.2.1
)");
  evaluator.begin({.client = *base::IpAddress::parse("192.0.2.1"),
                   .mail_from = "a@start.example",
                   .helo = "h.example"});
  while (!evaluator.step()) {
    const std::vector<dns::Question> wanted(evaluator.questions().begin(),
                                            evaluator.questions().end());
    for (std::size_t i = wanted.size(); i-- > 0;) {
      EXPECT_FALSE(evaluator.step());
      evaluator.supply(wanted[i], zone.answer(wanted[i]));
      evaluator.supply(wanted[i], dns::make_failure(dns::Status::kTimeout));
      evaluator.supply({*dns::Name::parse("other.example"), dns::Type::kA},
                       dns::make_failure(dns::Status::kTimeout));
    }
  }
  EXPECT_EQ(evaluator.outcome().result, Result::kPass);
}

TEST_F(SpfEvaluatorTest, ExplanationsOnlyWhenAskedForAndPrintable) {
  const std::string record = "start.example TXT \"v=spf1 -all exp=why.example\"\n";
  EXPECT_EQ(
      run(Zone::parse(record + "why.example TXT \"%{i} is not one of %{d}'s\"\n")).explanation,
      "192.0.2.1 is not one of start.example's");
  EXPECT_EQ(run(Zone::parse(record + "why.example TXT \"x\"\n"), {.explain = false}).explanation,
            "");
  EXPECT_EQ(questions, 1U) << "nor is anything asked for it";
  for (const char* text : {"caf\\195\\169", "two\\013\\010lines", "bell\\007", "%{x}", "%"}) {
    const Outcome& outcome =
        run(Zone::parse(record + "why.example TXT \"" + std::string(text) + "\"\n"));
    EXPECT_EQ(outcome.explanation, "") << text;
    EXPECT_EQ(outcome.result, Result::kFail);
  }
  EXPECT_EQ(run(Zone::parse(record + "why.example TXT \"a\"\nwhy.example TXT \"b\"\n")).explanation,
            "");
  EXPECT_EQ(run(Zone::parse(record + "why.example ! servfail\n")).result, Result::kFail);
}

// A transcript kept as a file decides the same way years later.
TEST_F(SpfEvaluatorTest, AStoredTranscriptGivesItsVerdict) {
  const std::vector<std::string> lines{
      "start.example TXT answer 300 \"v=spf1 mx include:inner.example ~all\"",
      "start.example MX answer 300 10 mx.start.example",
      "mx.start.example A no-such-name 60",
      "inner.example TXT answer 300 \"unrelated\" \"v=spf1 exists:%{ir}.x.example -all\" alias "
      "i.example",
      "1.2.0.192.x.example A answer 30 127.0.0.2",
  };
  evaluator.begin({.client = *base::IpAddress::parse("192.0.2.1"),
                   .mail_from = "a@start.example",
                   .helo = "h.example"});
  std::size_t used = 0;
  while (!evaluator.step()) {
    for (const dns::Question& question : evaluator.questions()) {
      for (const std::string& line : lines) {
        const auto read = dns::parse_transcript_line(line);
        ASSERT_TRUE(read) << line;
        EXPECT_EQ(dns::transcript_line(read->question, *read->answer), line + "\n");
        if (read->question != question) continue;
        evaluator.supply(question, read->answer);
        ++used;
      }
    }
  }
  EXPECT_EQ(used, lines.size());
  EXPECT_EQ(evaluator.outcome().result, Result::kPass);
  EXPECT_EQ(evaluator.outcome().mechanism, "include:inner.example");
  EXPECT_EQ(evaluator.outcome().lookups, 3U);
  EXPECT_EQ(evaluator.outcome().voids, 1U);
}

}  // namespace
}  // namespace mxring::mailauth::spf
