// Rows and their counts, the last policy, and the limits.
#include "report/aggregate.h"

#include <gtest/gtest.h>

#include "tests/report/samples.h"

namespace mxring::report {
namespace {

Observation sample(std::string ip, std::string domain = "example.org") {
  Observation seen;
  seen.policy_domain = std::move(domain);
  seen.policy_record = "v=DMARC1; p=none";
  seen.row.source_ip = std::move(ip);
  return seen;
}

TEST(AggregateTest, EqualMessagesAreOneRow) {
  Aggregator sums;
  for (int i = 0; i < 5; ++i) sums.add(sample("192.0.2.1"));
  sums.add(sample("192.0.2.2"));
  Observation other = sample("192.0.2.1");
  other.row.signatures.push_back({"example.org", "s", "pass"});
  sums.add(other);
  ASSERT_EQ(sums.domains().size(), 1U);
  const DomainAggregate& sum = sums.domains().at("example.org");
  EXPECT_EQ(sum.rows.size(), 3U);
  EXPECT_EQ(sum.rows.at(sample("192.0.2.1").row), 5U);
  EXPECT_EQ(sum.rows.at(sample("192.0.2.2").row), 1U);
  EXPECT_EQ(sum.rows.at(other.row), 1U);
  EXPECT_EQ(sum.messages, 7U);
  EXPECT_EQ(sums.messages(), 7U);
  EXPECT_EQ(sums.left_out(), 0U);
}

TEST(AggregateTest, EveryPartOfARowTellsMessagesApart) {
  std::vector<Row> rows(12);
  rows[1].source_ip = "x";
  rows[2].header_from = "x";
  rows[3].envelope_from = "x";
  rows[4].action = Action::kReject;
  rows[5].overridden.local_policy = true;
  rows[6].overridden.test_mode = true;
  rows[7].dkim_aligned = true;
  rows[8].spf_aligned = true;
  rows[9].spf_domain = "x";
  rows[10].spf_result = "x";
  rows[11].signatures.emplace_back();
  Aggregator sums;
  for (const Row& row : rows) {
    Observation seen = sample("");
    seen.row = row;
    sums.add(seen);
  }
  EXPECT_EQ(sums.rows(), rows.size());
}

TEST(AggregateTest, TheLastPolicyIsKept) {
  Aggregator sums;
  sums.add(sample("192.0.2.1"));
  Observation later = sample("192.0.2.1");
  later.policy_record = "v=DMARC1; p=reject";
  sums.add(later);
  EXPECT_EQ(sums.domains().at("example.org").policy_record, "v=DMARC1; p=reject");
}

TEST(AggregateTest, WhatIsOverALimitIsCounted) {
  Aggregator sums({.rows_per_domain = 2, .rows = 3, .domains = 2});
  sums.add(sample("1"));
  sums.add(sample("2"));
  sums.add(sample("3"));  // the domain has two rows
  sums.add(sample("1"));  // a known row has room
  sums.add(sample("1", "b.test"));
  sums.add(sample("2", "b.test"));  // three rows in all
  sums.add(sample("1", "c.test"));  // two domains
  EXPECT_EQ(sums.messages(), 7U);
  EXPECT_EQ(sums.rows(), 3U);
  EXPECT_EQ(sums.left_out(), 3U);
  EXPECT_EQ(sums.without_domain(), 1U);
  const DomainAggregate& sum = sums.domains().at("example.org");
  EXPECT_EQ(sum.messages, 4U);
  EXPECT_EQ(sum.left_out, 1U);
  EXPECT_EQ(sum.rows.at(sample("1").row), 2U);
  EXPECT_FALSE(sums.domains().contains("c.test"));
}

}  // namespace
}  // namespace mxring::report
