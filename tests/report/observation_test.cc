// What a record means for reports, and records that mean nothing.
#include "report/observation.h"

#include <gtest/gtest.h>

#include "tests/report/samples.h"

namespace mxring::report {
namespace {

using test::SampleRecord;
using test::with;

Observation observed(const SampleRecord& sample) {
  auto seen = observe(sample.record());
  EXPECT_TRUE(seen.has_value()) << (seen ? "" : seen.error());
  if (!seen || !*seen) {
    ADD_FAILURE() << "nothing was observed";
    return {};
  }
  return std::move(**seen);
}

std::string problem(const SampleRecord& sample) {
  const auto seen = observe(sample.record());
  return seen ? "none" : std::string(seen.error());
}

TEST(ObservationTest, EveryPartIsTaken) {
  const Observation seen = observed({});
  EXPECT_EQ(seen.policy_domain, "example.org");
  EXPECT_EQ(seen.policy_record, "v=DMARC1; p=reject; rua=mailto:d@example.org");
  EXPECT_EQ(seen.row.source_ip, "192.0.2.1");
  EXPECT_EQ(seen.row.header_from, "news.example.org");
  EXPECT_EQ(seen.row.envelope_from, "mail.example.org");
  EXPECT_EQ(seen.row.action, Action::kPass);
  EXPECT_EQ(seen.row.overridden, Override{});
  EXPECT_TRUE(seen.row.spf_aligned);
  EXPECT_TRUE(seen.row.dkim_aligned);
  EXPECT_EQ(seen.row.spf_domain, "mail.example.org");
  EXPECT_EQ(seen.row.spf_result, "pass");
  std::string order;
  for (const SignatureResult& signature : seen.row.signatures) order += signature.selector;
  EXPECT_EQ(order, "dcba");  // strict, relaxed, other pass, fail
}

TEST(ObservationTest, NothingToReport) {
  SampleRecord sample;
  sample.dmarc = "";
  EXPECT_FALSE(observe(sample.record())->has_value());
  sample.dmarc = R"({"result":"none","record":""})";
  EXPECT_FALSE(observe(sample.record())->has_value());
}

struct ActionCase {
  const char* disposition;
  const char* result;
  const char* policy;
  const char* more;
  Action action;
  Override why;
};

TEST(ObservationTest, WhatWasPutOffComesAgain) {
  SampleRecord sample;
  sample.disposition = "tempfail";
  const auto seen = observe(sample.record());
  ASSERT_TRUE(seen);
  EXPECT_FALSE(*seen);
}

TEST(ObservationTest, WhatWasDoneAndWhy) {
  const ActionCase cases[] = {
      {"accept", "pass", "none", "", Action::kNone, {}},
      {"accept", "pass", "quarantine", "", Action::kPass, {}},
      {"accept", "fail", "none", "", Action::kNone, {}},
      {"quarantine", "fail", "quarantine", "", Action::kQuarantine, {}},
      {"reject", "fail", "reject", "", Action::kReject, {}},
      {"quarantine", "fail", "reject", "", Action::kQuarantine, {.local_policy = true}},
      {"accept", "fail", "quarantine", "", Action::kNone, {.local_policy = true}},
      {"quarantine",
       "fail",
       "quarantine",
       R"(,"testing":true,"published_policy":"reject")",
       Action::kQuarantine,
       {.test_mode = true}},
      {"accept",
       "fail",
       "quarantine",
       R"(,"testing":true,"published_policy":"reject")",
       Action::kNone,
       {.local_policy = true, .test_mode = true}},
      {"accept", "fail", "none", R"(,"testing":true,"published_policy":"none")", Action::kNone, {}},
      {"accept", "temperror", "reject", "", Action::kNone, {.undecided = true}},
      {"quarantine", "temperror", "reject", "", Action::kQuarantine, {.undecided = true}},
      {"accept", "temperror", "none", "", Action::kNone, {}},
  };
  for (const ActionCase& c : cases) {
    SampleRecord sample;
    sample.disposition = c.disposition;
    sample.dmarc = with(
        with(sample.dmarc, R"("result":"pass")", std::string(R"("result":")") + c.result + '"'),
        R"("policy":"reject")", std::string(R"("policy":")") + c.policy + '"' + c.more);
    const Observation seen = observed(sample);
    EXPECT_EQ(seen.row.action, c.action) << c.disposition << ' ' << c.result << ' ' << c.policy;
    EXPECT_EQ(seen.row.overridden, c.why) << c.disposition << ' ' << c.result << ' ' << c.policy;
  }
}

TEST(ObservationTest, EnvelopeFromIsTheDomainInALabels) {
  SampleRecord sample;
  sample.mail_from = "";
  EXPECT_EQ(observed(sample).row.envelope_from, "");
  sample.mail_from = "\"a@b\"@K\u00f6ln.de";
  EXPECT_EQ(observed(sample).row.envelope_from, "xn--kln-sna.de");
}

TEST(ObservationTest, MethodsThatWereOff) {
  SampleRecord sample;
  sample.spf = sample.dkim = "";
  const Observation seen = observed(sample);
  EXPECT_EQ(seen.row.spf_result, "");
  EXPECT_TRUE(seen.row.signatures.empty());
}

TEST(ObservationTest, SignaturesHaveALimitAndThoseWithoutADomainAreNone) {
  SampleRecord sample;
  sample.dkim = "[";
  for (int i = 0; i < 150; ++i) {
    sample.dkim +=
        R"({"domain":"example.org","selector":"s)" + std::to_string(i) + R"(","result":"fail"},)";
  }
  sample.dkim += R"({"domain":"","selector":"","result":"permerror"},)"
                 R"({"domain":"example.org","selector":"good","result":"pass"}])";
  const Observation seen = observed(sample);
  ASSERT_EQ(seen.row.signatures.size(), kSignaturesMax);
  EXPECT_EQ(seen.row.signatures.front().selector, "good");
}

TEST(ObservationTest, WhatDoesNotFitIsRefused) {
  const SampleRecord good;
  const auto dmarc = [&](std::string_view from, std::string_view to) {
    SampleRecord sample;
    sample.dmarc = with(sample.dmarc, from, to);
    return problem(sample);
  };
  EXPECT_EQ(dmarc(R"("aligned_spf":"mail.example.org",)", ""),
            "a verdict without a text that belongs there");
  EXPECT_EQ(dmarc(R"("from_domain":"news.example.org")", R"("from_domain":7)"),
            "a verdict without a text that belongs there");
  EXPECT_EQ(dmarc(R"("result":"pass")", R"("result":"perhaps")"),
            "a verdict with an unknown result");
  EXPECT_EQ(dmarc(R"("policy":"reject")", R"("policy":"eject")"),
            "a verdict with an unknown policy");
  EXPECT_EQ(dmarc(R"("record_domain":"example.org")", R"("record_domain":"")"),
            "a policy record without its domain");
  EXPECT_EQ(dmarc("news.example.org", std::string(kNameBytesMax + 1, 'x')),
            "a verdict with a name that is too long");
  EXPECT_EQ(dmarc(R"("result":"pass")", R"("testing":"yes","result":"fail")"),
            "a verdict with a flag that is none");
  SampleRecord sample;
  sample.dmarc.pop_back();
  EXPECT_EQ(problem(sample), "a verdict that is not JSON");
  sample = good;
  sample.dmarc += "x";
  EXPECT_EQ(problem(sample), "a verdict that is not JSON");
  sample.dmarc = "[]";
  EXPECT_EQ(problem(sample), "a verdict without a text that belongs there");
  sample.dmarc = std::string(kVerdictBytesMax + 1, '[');
  EXPECT_EQ(problem(sample), "a verdict that is too long");
  sample.dmarc = std::string(kVerdictBytesMax - 1, '[');
  EXPECT_EQ(problem(sample), "a verdict that is not JSON");
  sample = good;
  sample.disposition = "devour";
  EXPECT_EQ(problem(sample), "an unknown disposition");
  sample = good;
  sample.dkim = "{}";
  EXPECT_EQ(problem(sample), "signatures that are no list");
  sample.dkim = R"([{"domain":"a.test","selector":"s","result":"softfail"}])";
  EXPECT_EQ(problem(sample), "a signature with a result that signatures do not have");
  sample = good;
  sample.spf = R"({"result":"pass"})";
  EXPECT_EQ(problem(sample), "a verdict without a text that belongs there");
}

}  // namespace
}  // namespace mxring::report
