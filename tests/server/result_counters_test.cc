#include "server/result_counters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "smtp/reply.h"

namespace mxring::server {
namespace {

using obs::Counter;
namespace replies = smtp::replies;

std::uint64_t count_of(const obs::CounterSet& counters, std::string_view codes) {
  const auto labels = smtp::refusal_labels();
  const auto found = std::ranges::find(labels, codes);
  return found == labels.end()
             ? UINT64_MAX
             : counters.of_family(static_cast<std::size_t>(found - labels.begin()));
}

TEST(ResultCounters, ARefusalIsCountedByItsCodes) {
  obs::CounterSet counters;
  count_reply(counters, replies::kStorageLow);
  count_reply(counters, replies::kMemoryLow);
  count_reply(counters, replies::kMessageTooLarge);
  count_reply(counters, smtp::Reply(replies::kDmarcReject).with("bank.example says reject"));
  count_reply(counters, replies::kBareLf);
  count_reply(counters, replies::kUnknownCommand);
  count_reply(counters, smtp::Reply(replies::kAccepted).with("Ok 450 4.3.1"));
  count_reply(counters, replies::kStartData);
  EXPECT_EQ(count_of(counters, "452 4.3.1"), 2U);
  EXPECT_EQ(count_of(counters, "552 5.3.4"), 1U);
  EXPECT_EQ(count_of(counters, "550 5.7.26"), 1U);
  EXPECT_EQ(count_of(counters, "550 5.5.2"), 1U);
  EXPECT_EQ(count_of(counters, "500 5.5.1"), 1U);
  EXPECT_EQ(counters.get(Counter::kReplies4xx), 2U);
  EXPECT_EQ(counters.get(Counter::kReplies5xx), 4U);
}

// Every refusal of the table has a label of its own codes, and no two labels are alike.
TEST(ResultCounters, EveryRefusalHasItsLabel) {
  const auto labels = smtp::refusal_labels();
  for (const smtp::ReplyRow& row : smtp::kReplies) {
    const smtp::Reply reply(row.id);
    if (!reply.is_refusal()) continue;
    EXPECT_EQ(labels[smtp::refusal_label(reply)], reply.codes()) << row.line;
    EXPECT_EQ(std::ranges::count(labels, reply.codes()), 1) << row.line;
  }
  EXPECT_LE(labels.size(), obs::kFamilyValuesMax);
}

}  // namespace
}  // namespace mxring::server
