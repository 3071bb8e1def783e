#include "server/group_facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/clock.h"
#include "seglog/groups.h"
#include "seglog/lag.h"
#include "seglog/log_end.h"
#include "seglog/stored_json.h"

namespace mxring::server {

namespace {

void judge(const seglog::ReadFile& log, const seglog::CursorFields& fields,
           seglog::LogExtent extent, bool owned, GroupFacts& facts) {
  facts.state = owned ? "running" : fields.paused() ? "paused" : "idle";
  switch (seglog::place_of(log.fd(), fields, extent)) {
    case seglog::CursorPlace::kHere:
      return;
    case seglog::CursorPlace::kOtherLog:
      facts.state = "foreign-log";
      facts.error = fmt::format("the cursor is of another log, {}", fields.id().hex());
      return;
    case seglog::CursorPlace::kBeyondEnd:
      facts.state = "stopped";
      facts.error = fmt::format("the cursor stands at {}, beyond the end of the log, {}",
                                fields.next, extent.end);
      return;
  }
}

// What a relay that reads for the group says of itself, at most a second ago.
void read_state(const seglog::ReadFile& groups, const std::string& group, GroupFacts& facts) {
  const auto file = seglog::ReadFile::open_at(groups.fd(), group + ".state");
  if (!file.is_open()) return;
  std::string text(4096, '\0');
  const std::int64_t got = seglog::read_fully(file.fd(), text.data(), text.size(), 0);
  text.resize(static_cast<std::size_t>(std::max<std::int64_t>(got, 0)));
  const auto objects = seglog::read_stored_json(text);
  if (objects.empty() || objects.front().text("state") != "retrying") return;
  facts.state = "retrying";
  facts.error = objects.front().text("error");
}

}  // namespace

GroupFacts look_at_group(const seglog::ReadFile& log, const seglog::ReadFile& groups,
                         const std::string& group) {
  GroupFacts facts;
  facts.group = group;
  seglog::LogEnd end(log.fd());
  end.refresh();
  const auto bases = seglog::list_segments(log.fd()).value_or(std::vector<std::uint64_t>{});
  const seglog::LogExtent extent{bases.empty() ? end.offset() : bases.front(),
                                 std::max(end.offset(), bases.empty() ? 0 : bases.front())};
  facts.current = extent.first;
  facts.end = extent.end;
  const auto file = seglog::ReadFile::open_at(groups.fd(), seglog::cursor_name(group));
  if (!file.is_open()) {
    facts.state = "stopped";
    facts.error = std::system_category().message(errno);
    return facts;
  }
  const bool owned = seglog::cursor_is_owned(file.fd());
  if (owned) facts.owner_pid = seglog::owner_pid(groups.fd(), group);
  const auto read = seglog::read_cursor(file.fd());
  if (!read || !*read) {
    facts.state = owned ? "running" : "stopped";
    facts.error = read ? "the cursor is damaged: it holds everything, and its reader begins at the "
                         "earliest record"
                       : std::system_category().message(read.error());
  } else {
    const seglog::CursorFields& fields = **read;
    facts.current = fields.next;
    facts.committed_at_us = fields.committed_at_us;
    facts.holds = fields.holds();
    facts.dead = fields.dead;
    judge(log, fields, extent, owned, facts);
    if (owned && facts.state == "running") read_state(groups, group, facts);
  }
  const seglog::Lag lag = seglog::measure_lag(log.fd(), facts.current);
  facts.lag = facts.end > facts.current ? facts.end - facts.current : 0;
  facts.lag_bytes = lag.bytes;
  if (lag.oldest_us != 0) {
    const std::int64_t waited_us = base::read_clocks().wall.us - lag.oldest_us;
    facts.lag_seconds = static_cast<double>(std::max<std::int64_t>(waited_us, 0)) / 1e6;
  }
  return facts;
}

std::vector<GroupFacts> look_at_groups(const std::string& log) {
  std::vector<GroupFacts> all;
  const auto opened = seglog::open_log(log);
  if (!opened) return all;
  const auto folder = seglog::open_groups(opened->fd());
  if (!folder) return all;
  for (const std::string& group :
       seglog::list_groups(opened->fd()).value_or(std::vector<std::string>{})) {
    all.push_back(look_at_group(*opened, *folder, group));
  }
  return all;
}

}  // namespace mxring::server
