// The evaluator against the suites' own zone data.
#include "tests/mailauth/spf_suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/text.h"
#include "dns/transcript.h"
#include "mailauth/spf/evaluator.h"

namespace mxring::mailauth::spf {
namespace {

using test::SpfCase;
using test::SpfSuites;

const SpfSuites& suites() {
  static const SpfSuites loaded = test::load_spf_suites();
  return loaded;
}

Outcome evaluate(const SpfCase& test, Evaluator& evaluator) {
  const auto client = base::IpAddress::parse(test.host);
  EXPECT_TRUE(client) << test.id;
  evaluator.begin({.client = client.value_or(base::IpAddress()),
                   .mail_from = test.mail_from,
                   .helo = test.helo,
                   .receiver = "mx.receiver.example",
                   .now_unix_s = 1'700'000'000,
                   .explain = true});
  while (!evaluator.step()) {
    for (const dns::Question& question : evaluator.questions()) {
      evaluator.supply(question, test.zone->answer(question));
    }
  }
  return evaluator.outcome();
}

TEST(SpfSuiteTest, EveryCaseAsItsAuthorsSay) {
  if (!suites().missing.empty()) GTEST_SKIP() << suites().missing;
  Evaluator evaluator;
  std::map<std::string, int> graded;
  int explanations = 0;
  for (const SpfCase& test : suites().cases) {
    if (suites().exceptions.contains(test.id)) continue;
    ++graded[test.id.substr(0, test.id.find('/'))];
    const Outcome outcome = evaluate(test, evaluator);
    EXPECT_NE(std::ranges::find(test.results, word(outcome.result)), test.results.end())
        << test.id << ": " << word(outcome.result) << " (" << outcome.problem << "), not "
        << test.results.front();
    if (!test.explanation.empty() && outcome.result == Result::kFail) {
      ++explanations;
      const std::string& got = outcome.explanation.empty() ? "DEFAULT" : outcome.explanation;
      // Hexadecimal digits in either case name the same address.
      EXPECT_TRUE(base::ascii_iequals(got, test.explanation)) << test.id << ": " << got;
    }
    EXPECT_LE(outcome.questions, base::Limits().dns_questions) << test.id;
  }
  EXPECT_EQ(graded["openspf"], 193);
  EXPECT_EQ(graded["pyspf"], 14);
  EXPECT_EQ(graded["mailauth"], 15);
  EXPECT_GE(explanations, 20);
}

TEST(SpfSuiteTest, EveryExceptionIsACaseAndDiffers) {
  if (!suites().missing.empty()) GTEST_SKIP() << suites().missing;
  Evaluator evaluator;
  for (const auto& [id, reason] : suites().exceptions) {
    const auto test = std::ranges::find(suites().cases, id, &SpfCase::id);
    ASSERT_NE(test, suites().cases.end()) << id;
    const auto got = word(evaluate(*test, evaluator).result);
    EXPECT_EQ(std::ranges::find(test->results, got), test->results.end())
        << id << " passes: it needs no exception";
    EXPECT_NE(reason.find("RFC 7208"), std::string::npos) << id;
  }
}

TEST(SpfSuiteTest, EveryMacroExpandsAsItsAuthorsSay) {
  if (!suites().missing.empty()) GTEST_SKIP() << suites().missing;
  EXPECT_EQ(suites().macros.size(), 25U);
  for (const test::MacroCase& test : suites().macros) {
    const std::size_t at = test.sender.find('@');
    const MacroValues values{.sender = test.sender,
                             .local_part = std::string_view(test.sender).substr(0, at),
                             .sender_domain = std::string_view(test.sender).substr(at + 1),
                             .domain = test.domain,
                             .client = base::IpAddress::parse(test.ip).value_or(base::IpAddress()),
                             .client_name = "unknown",
                             .helo = "helo.example",
                             .receiver = "unknown"};
    EXPECT_EQ(expand_text(test.macro, values).value_or("(error)"), test.out) << test.macro;
  }
}

// What was asked and answered, written as text and read back, gives the same outcome again.
TEST(SpfSuiteTest, TranscriptsGiveTheSameOutcome) {
  if (!suites().missing.empty()) GTEST_SKIP() << suites().missing;
  Evaluator evaluator;
  for (const SpfCase& test : suites().cases) {
    const Outcome first = evaluate(test, evaluator);
    std::string transcript;
    for (const Asked& asked : evaluator.asked()) {
      transcript += dns::transcript_line(asked.question, *asked.answer);
    }
    std::vector<dns::TranscriptLine> lines;
    std::istringstream text(transcript);
    for (std::string line; std::getline(text, line);) {
      auto read = dns::parse_transcript_line(line);
      ASSERT_TRUE(read) << line;
      lines.push_back(*read);
    }
    Evaluator again;
    again.begin({.client = *base::IpAddress::parse(test.host),
                 .mail_from = test.mail_from,
                 .helo = test.helo,
                 .receiver = "mx.receiver.example",
                 .now_unix_s = 1'700'000'000,
                 .explain = true});
    while (!again.step()) {
      for (const dns::Question& question : again.questions()) {
        const auto line = std::ranges::find(lines, question, &dns::TranscriptLine::question);
        ASSERT_NE(line, lines.end()) << test.id << " " << question.name.to_text();
        again.supply(question, line->answer);
      }
    }
    const Outcome& second = again.outcome();
    EXPECT_EQ(first.result, second.result) << test.id;
    EXPECT_EQ(first.mechanism, second.mechanism) << test.id;
    EXPECT_EQ(first.explanation, second.explanation) << test.id;
    EXPECT_EQ(first.problem, second.problem) << test.id;
    EXPECT_EQ(first.questions, second.questions) << test.id;
  }
}

}  // namespace
}  // namespace mxring::mailauth::spf
