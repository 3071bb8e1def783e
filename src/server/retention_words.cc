#include "server/retention_words.h"

#include <fmt/format.h>

#include "base/text.h"
#include "base/units.h"

namespace mxring::server {

namespace {

// "30 days", "90 minutes": the largest unit that leaves nothing over, or nearly.
std::string span(std::int64_t ns) {
  struct Unit {
    std::int64_t ns;
    std::string_view name;
  };
  constexpr Unit kUnits[] = {{86'400'000'000'000, "day"},
                             {3'600'000'000'000, "hour"},
                             {60'000'000'000, "minute"},
                             {1'000'000'000, "second"}};
  for (const Unit& unit : kUnits) {
    const std::int64_t whole = (ns + unit.ns / 20) / unit.ns;
    const std::int64_t over = ns - whole * unit.ns;
    if (whole > 0 && (whole >= 10 || (over < unit.ns / 20 && over > -unit.ns / 20))) {
      return base::counted(static_cast<std::uint64_t>(whole), unit.name);
    }
  }
  return base::format_duration(ns);
}

}  // namespace

std::string removed(std::string_view log, const seglog::Removal& removal,
                    const seglog::Retention::Options& limits) {
  std::string why;
  switch (removal.why) {
    case seglog::RemovedFor::kAge:
      why = fmt::format("older than log.retain_age = {}", span(limits.age_ns));
      break;
    case seglog::RemovedFor::kBytes:
      why = fmt::format("beyond log.retain_bytes = {}", base::format_bytes(limits.bytes));
      break;
    case seglog::RemovedFor::kHoldFull:
      why =
          "although groups had not dealt with it: they may hold no more (groups.on_hold_full = "
          "\"drop\")";
      break;
  }
  const std::string offsets =
      removal.next_offset <= removal.first_offset
          ? fmt::format("what was set aside at offset {}", removal.first_offset)
          : fmt::format("offsets {} to {}", removal.first_offset, removal.next_offset - 1);
  return fmt::format("{}: removed {} ({}, {}), {}", base::escaped(log), offsets,
                     base::counted(removal.segments, "segment"), base::format_bytes(removal.bytes),
                     why);
}

std::string kept_for(const seglog::Held& held) {
  if (held.unknown) return "warning: the log's groups cannot be read: retention removes nothing";
  return fmt::format("retention keeps {} for group {}, {}", base::format_bytes(held.bytes),
                     held.group,
                     held.damaged ? "whose cursor is damaged: it holds everything"
                                  : fmt::format("which stands at offset {}", held.next));
}

std::string clock_moved(std::int64_t us) {
  const std::int64_t distance_ns = (us < 0 ? -us : us) * 1000;
  return fmt::format(
      "warning: the wall clock was set {} {}; nothing is removed by log.retain_age for an hour, "
      "and then two segments for each one filled, until that is caught up with",
      span(distance_ns), us < 0 ? "back" : "forward");
}

}  // namespace mxring::server
