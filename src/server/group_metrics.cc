#include "server/group_metrics.h"

#include <fmt/format.h>

#include <functional>

namespace mxring::server {

void append_group_metrics(std::string& out, const std::vector<GroupFacts>& groups,
                          const std::map<std::string, std::uint64_t>& dropped) {
  const auto family = [&](std::string_view name, std::string_view type, std::string_view help,
                          const std::function<std::string(const GroupFacts&)>& value) {
    if (groups.empty()) return;
    out +=
        fmt::format("# HELP mxring_group_{0} {1}\n# TYPE mxring_group_{0} {2}\n", name, help, type);
    for (const GroupFacts& facts : groups) {
      out += fmt::format("mxring_group_{}{{group=\"{}\"}} {}\n", name, facts.group, value(facts));
    }
  };
  family("lag_records", "gauge", "records that the group has not dealt with",
         [](const GroupFacts& facts) { return std::to_string(facts.lag); });
  family("lag_bytes", "gauge", "bytes of the log that the group has not dealt with",
         [](const GroupFacts& facts) { return std::to_string(facts.lag_bytes); });
  family("held_bytes", "gauge", "bytes of the log that retention must keep for the group",
         [](const GroupFacts& facts) { return std::to_string(facts.held_bytes()); });
  family("lag_seconds", "gauge", "since the oldest record not dealt with was received",
         [](const GroupFacts& facts) { return fmt::format("{:.3f}", facts.lag_seconds); });
  family("stopped", "gauge", "whether the group cannot go on without somebody's help",
         [](const GroupFacts& facts) {
           return std::string(facts.state == "stopped" || facts.state == "foreign-log" ? "1" : "0");
         });
  family("running", "gauge", "whether a reader of the group is at work",
         [](const GroupFacts& facts) { return std::string(facts.owner_pid != 0 ? "1" : "0"); });
  family("dead", "gauge", "dead letters",
         [](const GroupFacts& facts) { return std::to_string(facts.dead); });
  family("dropped_total", "counter", "records lost because groups may hold no more",
         [&](const GroupFacts& facts) {
           const auto lost = dropped.find(facts.group);
           return std::to_string(lost == dropped.end() ? 0 : lost->second);
         });
}

}  // namespace mxring::server
