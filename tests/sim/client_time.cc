// When a client may hear what: in peace an answer comes at once, nobody is sent away for a silence
// that was none, and a drain lets transactions end.
#include <fmt/format.h>

#include <algorithm>

#include "tests/sim/client.h"

namespace mxring::sim {

namespace {

// Of virtual time, in peace: less than the second in which whoever forgot to be woken looks around.
constexpr Ns kPrompt = 700 * kMs;
// No limit of time in a life is shorter than a minute; replies may come a little late.
constexpr Ns kShortestWait = 58 * kSecond;

}  // namespace

void Client::judge_time(const Command* command, const std::string& reply, bool draining) {
  if (reply[0] == '4' || reply[0] == '5') ++ledger_.refusals_heard;
  const Ns now = world_.now();
  const Ns before = std::exchange(last_reply_at_, now);
  const bool reads_at_once = manners_.reads && manners_.read_pause_max == 0;
  if (!reads_at_once) return;
  if (reply == "421 4.4.2" && now - std::max(before, connected_at_) < kShortestWait) {
    convict(fmt::format("{}: sent away after {} s; {}", name_,
                        (now - std::max(before, connected_at_)) / kSecond, describe()));
  }
  const bool in_time = now - ledger_.drain_began < ledger_.limits.drain_ns;
  if (draining && model_.in_transaction() && ledger_.drain_began >= 0 && in_time &&
      !ledger_.log_may_fail) {
    convict(fmt::format("{}: a drain ends its transaction; {}", name_, describe()));
  }
  if (tolerance_.faults || command == nullptr || command->sent_at <= 0) return;
  if (command->act == Act::kRcpt) return;  // block lists may be silent
  const Ns since = now - std::max(command->sent_at, before);
  if (since > kPrompt && model_.errors() < ledger_.limits.errors_soft) {
    convict(fmt::format("{}: {} is answered after {} ms; {}", name_, name(command->act),
                        since / kMs, describe()));
  }
}

}  // namespace mxring::sim
