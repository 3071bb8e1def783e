#include "server/ledger.h"

#include <gtest/gtest.h>

namespace mxring::server {
namespace {

TEST(Ledger, SharesRestOnEnoughTurns) {
  obs::CounterRegistry counters;
  obs::CounterSet& shard = counters.make_set("shard-0");
  shard.add(obs::Counter::kMessagesAccepted, 100);
  shard.add(obs::Counter::kStageParseNs, 250'000);
  shard.add(obs::Counter::kTurnsMeasured, Ledger::kTurnsWanted - 1);
  const std::string few = ledger_table(make_ledger(counters, 1'000'000));
  EXPECT_EQ(few.find('%'), few.npos) << few;
  EXPECT_TRUE(
      few.starts_with("CPU by stage, 100 messages, 199 measured turns (no shares below 200)\n"))
      << few;
  EXPECT_NE(few.find("2.50 us a message\n"), few.npos) << few;

  shard.add(obs::Counter::kTurnsMeasured);
  const std::string enough = ledger_table(make_ledger(counters, 1'000'000));
  EXPECT_TRUE(enough.starts_with("CPU by stage, 100 messages, 200 measured turns\n")) << enough;
  EXPECT_NE(enough.find("2.50 us a message   25.0 %\n"), enough.npos) << enough;
}

}  // namespace
}  // namespace mxring::server
