#include "tests/sim/judge_counters.h"

#include <fmt/format.h>

#include <string_view>

#include "obs/counters.h"

namespace mxring::sim {

using obs::Counter;

void judge_counters(const server::Server& server, const Ledger& ledger, bool calm) {
  const auto count = [&server](Counter counter) { return server.counters().sum(counter); };
  const auto same = [](std::string_view what, std::uint64_t a, std::uint64_t b) {
    if (a != b) convict(fmt::format("the figures do not add up: {}: {} and {}", what, a, b));
  };
  // One that is refused once it is known for whom it speaks is closed, too.
  const std::uint64_t accepted = count(Counter::kConnectionsAccepted);
  const std::uint64_t closed = count(Counter::kConnectionsClosed);
  const std::uint64_t refused = count(Counter::kConnectionsRefused);
  if (closed > accepted || accepted > closed + refused) {
    convict(
        fmt::format("of {} connections {} were refused and {} closed", accepted, refused, closed));
  }
  const std::uint64_t by_policy =
      count(Counter::kMessagesRefusedDmarc) + count(Counter::kMessagesDeferredDmarc);
  same("messages accepted or refused by policy, and records",
       count(Counter::kMessagesAccepted) + by_policy, count(Counter::kCommittedRecords));
  same("memory in flight after all is over", count(Counter::kMemoryInFlight), 0);
  if (!calm) return;
  same("refusals counted and heard", count(Counter::kReplies4xx) + count(Counter::kReplies5xx),
       ledger.refusals_heard);
  if (ledger.lied) return;  // offsets are given again
  same("messages accepted and promised", count(Counter::kMessagesAccepted),
       ledger.by_offset.size() - ledger.promised_before);
}

}  // namespace mxring::sim
