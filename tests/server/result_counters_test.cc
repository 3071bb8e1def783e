#include "server/result_counters.h"

#include <gtest/gtest.h>

#include "server/replies.h"
#include "smtp/replies.h"

namespace mxring::server {
namespace {

using obs::Counter;

TEST(ResultCounters, ARefusalIsCountedByItsCodes) {
  obs::CounterSet counters;
  count_refusal(counters, replies::kStorageLow);
  count_refusal(counters, replies::kMemoryLow);
  count_refusal(counters, smtp::replies::kMessageTooLarge);
  count_refusal(counters, "550 5.7.26 bank.example says reject\r\n");
  count_refusal(counters, smtp::replies::kBareLf);
  count_refusal(counters, smtp::replies::kUnknownCommand);
  count_refusal(counters, "250 2.0.0 Ok 7");
  count_refusal(counters, "");
  EXPECT_EQ(counters.get(Counter::kRefusal452_431), 2U);
  EXPECT_EQ(counters.get(Counter::kRefusal552_534), 1U);
  EXPECT_EQ(counters.get(Counter::kRefusal550_5726), 1U);
  EXPECT_EQ(counters.get(Counter::kRefusal550_552), 1U);
  EXPECT_EQ(counters.get(Counter::kRefusalOther), 1U);
  EXPECT_EQ(counters.get(Counter::kReplies4xx), 2U);
  EXPECT_EQ(counters.get(Counter::kReplies5xx), 4U);
}

}  // namespace
}  // namespace mxring::server
