#include "server/group_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "base/assert.h"
#include "base/text.h"
#include "base/units.h"

namespace mxring::server {

GroupWatch::Trouble GroupWatch::trouble_of(const GroupFacts& facts) {
  if (facts.state == "stopped" || facts.state == "foreign-log") return Trouble::kStopped;
  return facts.lag > 0 && facts.lag_seconds > kLateSeconds ? Trouble::kLate : Trouble::kNone;
}

std::string GroupWatch::in_words(const GroupFacts& facts, Trouble trouble) const {
  if (trouble == Trouble::kNone) return fmt::format("group {} is well again", facts.group);
  const std::string advice =
      fmt::format("mxring groups describe {} {}", base::escaped(log_), facts.group);
  if (trouble == Trouble::kStopped) {
    return fmt::format("warning: group {} cannot go on: {}; `{}`", facts.group,
                       base::escaped(facts.error), advice);
  }
  const std::string why = facts.state == "idle"     ? "no reader is at work"
                          : facts.state == "paused" ? "it is paused"
                          : facts.error.empty()     ? "its reader is slow, or waits for its sink"
                                                    : base::escaped(facts.error);
  return fmt::format("warning: group {} is {} minutes late, with {} to go: {}; `{}`", facts.group,
                     static_cast<std::uint64_t>(facts.lag_seconds) / 60,
                     base::counted(facts.lag, "record"), why, advice);
}

void GroupWatch::look(const std::vector<GroupFacts>& groups) {
  int lines = 0;
  std::map<std::string, Trouble> now;
  for (const GroupFacts& facts : groups) {
    const auto before = said_.find(facts.group);
    const Trouble said = before == said_.end() ? Trouble::kNone : before->second;
    Trouble trouble = trouble_of(facts);
    if (trouble != said && lines < kLinesMax) {
      ++lines;
      notice_(in_words(facts, trouble));
    } else {
      trouble = said;
    }
    if (trouble != Trouble::kNone) now.emplace(facts.group, trouble);
  }
  MXRING_ASSERT(now.size() <= groups.size() && lines <= kLinesMax);
  said_ = std::move(now);
}

}  // namespace mxring::server
