#include "server/group_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "base/clock.h"
#include "seglog/groups.h"
#include "seglog/lag.h"

namespace mxring::server {

namespace {

struct Facts {
  std::string group;
  seglog::Lag lag;
  double seconds = 0;
  std::uint32_t dead = 0;
};

std::vector<Facts> look(const std::string& log) {
  std::vector<Facts> all;
  const auto opened = seglog::open_log(log);
  if (!opened) return all;
  const auto folder = seglog::open_groups(opened->fd());
  if (!folder) return all;
  const std::int64_t now_us = base::read_clocks().wall.us;
  for (const std::string& group :
       seglog::list_groups(opened->fd()).value_or(std::vector<std::string>{})) {
    const auto file = seglog::ReadFile::open_at(folder->fd(), seglog::cursor_name(group));
    const auto fields = seglog::read_cursor(file.fd());
    // A damaged cursor has dealt with nothing, as far as anybody knows.
    const bool known = fields && *fields;
    Facts facts{group, seglog::measure_lag(opened->fd(), known ? (*fields)->next : 0)};
    if (known) facts.dead = (*fields)->dead;
    if (facts.lag.oldest_us != 0) {
      facts.seconds =
          static_cast<double>(std::max<std::int64_t>(now_us - facts.lag.oldest_us, 0)) / 1e6;
    }
    all.push_back(std::move(facts));
  }
  return all;
}

}  // namespace

void append_group_metrics(std::string& out, const std::string& log,
                          const std::map<std::string, std::uint64_t>& dropped) {
  const std::vector<Facts> groups = look(log);
  const auto family = [&](std::string_view name, std::string_view type, std::string_view help,
                          const std::function<std::string(const Facts&)>& value) {
    if (groups.empty()) return;
    out +=
        fmt::format("# HELP mxring_group_{0} {1}\n# TYPE mxring_group_{0} {2}\n", name, help, type);
    for (const Facts& facts : groups) {
      out += fmt::format("mxring_group_{}{{group=\"{}\"}} {}\n", name, facts.group, value(facts));
    }
  };
  family("lag_records", "gauge", "records that the group has not dealt with",
         [](const Facts& facts) { return std::to_string(facts.lag.records); });
  family("lag_bytes", "gauge", "bytes of the log that the group has not dealt with",
         [](const Facts& facts) { return std::to_string(facts.lag.bytes); });
  family("lag_seconds", "gauge", "since the oldest record not dealt with was received",
         [](const Facts& facts) { return fmt::format("{:.3f}", facts.seconds); });
  family("dead", "gauge", "dead letters",
         [](const Facts& facts) { return std::to_string(facts.dead); });
  family("dropped_total", "counter", "records lost because groups may hold no more",
         [&](const Facts& facts) {
           const auto lost = dropped.find(facts.group);
           return std::to_string(lost == dropped.end() ? 0 : lost->second);
         });
}

}  // namespace mxring::server
