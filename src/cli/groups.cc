// `mxring groups`: the named readers of a log, and where each stands.
#include "cli/groups.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/log_walk.h"
#include "cli/output.h"

namespace mxring::cli {

std::expected<GroupPlace, int> open_group_place(const std::string& directory) {
  // A reader says whether it may be read at all, and what to do when not.
  if (const auto reader = open_log(directory); !reader) return std::unexpected(reader.error());
  auto log = seglog::open_log(directory);
  if (!log) {
    complain_about_log(log.error());
    return std::unexpected(kFailed);
  }
  GroupPlace place{directory, std::move(*log), {}};
  auto folder = seglog::open_groups(place.log.fd());
  if (folder) {
    place.folder = std::move(*folder);
  } else if (folder.error() != ENOENT) {
    complain(fmt::format("{}/groups: {}", base::escaped(directory),
                         std::system_category().message(folder.error())));
    return std::unexpected(kFailed);
  }
  return place;
}

GroupFacts look_at_group(const GroupPlace& place, const std::string& group) {
  return server::look_at_group(place.log, place.folder, group);
}

namespace {

void write_group(base::JsonWriter& json, const GroupFacts& facts) {
  json.begin_object();
  json.key("group").value(facts.group);
  json.key("current").value(facts.current).key("end").value(facts.end);
  json.key("lag").value(facts.lag).key("lag_bytes").value(facts.lag_bytes);
  json.key("lag_seconds").value(facts.lag_seconds);
  json.key("committed_at");
  facts.committed_at_us == 0 ? json.null()
                             : json.value(base::format_wall_time(facts.committed_at_us));
  json.key("holds")
      .value(facts.holds)
      .key("held_bytes")
      .value(facts.held_bytes())
      .key("state")
      .value(facts.state);
  json.key("owner_pid");
  facts.owner_pid == 0 ? json.null() : json.value(facts.owner_pid);
  json.key("dead").value(facts.dead).key("error");
  facts.error.empty() ? json.null() : json.value(facts.error);
  json.end_object();
}

}  // namespace

std::string groups_json(const std::vector<GroupFacts>& groups) {
  base::JsonWriter json;
  json.begin_object().key("groups").begin_array();
  for (const GroupFacts& facts : groups) write_group(json, facts);
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

std::string groups_table(const std::vector<GroupFacts>& groups) {
  if (groups.empty()) return "no group reads this log; `mxring log tail DIR --group G` makes one\n";
  std::string out = fmt::format("{:<24} {:>12} {:>12} {:>10} {:>11} {:>9}  {:<5}  {}\n", "group",
                                "current", "end", "lag", "bytes", "seconds", "holds", "state");
  for (const GroupFacts& facts : groups) {
    out += fmt::format("{:<24} {:>12} {:>12} {:>10} {:>11} {:>9.1f}  {:<5}  {}", facts.group,
                       facts.current, facts.end, facts.lag, base::format_bytes(facts.lag_bytes),
                       facts.lag_seconds, facts.holds ? "yes" : "no", facts.state);
    if (facts.owner_pid != 0) out += fmt::format(", pid {}", facts.owner_pid);
    if (facts.dead != 0) out += fmt::format(", {}", base::counted(facts.dead, "dead letter"));
    if (!facts.error.empty()) out += ": " + base::escaped(facts.error);
    out += '\n';
  }
  return out;
}

void add_group_arguments(CLI::App& command, GroupArguments& arguments, bool optional) {
  command.add_option("DIR", arguments.directory, "The log's directory")->required();
  auto* group = command.add_option("G", arguments.group, "The group");
  group->check([](const std::string& name) {
    return seglog::is_group_name(name) ? std::string()
                                       : "a group's name has 1 to 64 letters, digits, - and _";
  });
  if (!optional) group->required();
  command.add_flag("--json", arguments.json, "One JSON object");
}

std::expected<seglog::CursorFile, int> own_group(const GroupPlace& place,
                                                 const std::string& group) {
  auto owned = place.folder.is_open() ? seglog::CursorFile::open(place.folder.fd(), group)
                                      : std::unexpected(seglog::CursorFile::Refusal{ENOENT, {}});
  if (owned) return std::move(*owned);
  const auto& refusal = owned.error();
  if (refusal.error == ENOENT) {
    complain(fmt::format("there is no group {}; `mxring groups list {}` shows those there are",
                         group, base::escaped(place.directory)));
  } else if (refusal.error == 0) {
    complain(
        fmt::format("group {} is being read{}: stop its reader first", group,
                    refusal.owner_pid.empty() ? std::string() : ", by pid " + refusal.owner_pid));
  } else {
    complain(fmt::format("the cursor of group {} cannot be changed: {}", group,
                         std::system_category().message(refusal.error)));
  }
  return std::unexpected(kFailed);
}

namespace {

int show(const std::vector<GroupFacts>& groups, bool json) {
  Output output;
  output.write(json ? groups_json(groups) : groups_table(groups));
  output.flush();
  return output.failed() ? kFailed : kDone;
}

int run_describe(const GroupArguments& arguments) {
  auto place = open_group_place(arguments.directory);
  if (!place) return place.error();
  const auto names = seglog::list_groups(place->log.fd());
  if (!names) {
    complain(fmt::format("{}/groups: {}", base::escaped(arguments.directory),
                         std::system_category().message(names.error())));
    return kFailed;
  }
  std::vector<GroupFacts> groups;
  for (const std::string& name : *names) {
    if (arguments.group.empty() || arguments.group == name) {
      groups.push_back(look_at_group(*place, name));
    }
  }
  if (groups.empty() && !arguments.group.empty()) {
    complain(fmt::format("there is no group {}", arguments.group));
    return kFailed;
  }
  return show(groups, arguments.json);
}

void add_describe(CLI::App& groups, Commands& commands, const char* name, const char* help) {
  CLI::App* command = groups.add_subcommand(name, help);
  const auto arguments = std::make_shared<GroupArguments>();
  add_group_arguments(*command, *arguments, true);
  commands.push_back({command, [arguments] { return run_describe(*arguments); }});
}

}  // namespace

int show_group(const GroupPlace& place, const GroupArguments& arguments) {
  auto again = open_group_place(place.directory);  // the folder may have been made meanwhile
  if (!again) return again.error();
  return show({look_at_group(*again, arguments.group)}, arguments.json);
}

void add_groups(CLI::App& program, Commands& commands) {
  CLI::App* groups = program.add_subcommand("groups", "Named readers of the log, and their place");
  groups->require_subcommand(0, 1);
  add_describe(*groups, commands, "list", "All groups of a log, with their lag");
  add_describe(*groups, commands, "describe", "One group, or all");
  add_groups_change(*groups, commands);
  add_groups_reset(*groups, commands);
  add_groups_dead(*groups, commands);
  groups->footer(
      "A group that holds keeps retention from what it has not dealt with. Commands that change a\n"
      "group refuse while its reader runs.");
  commands.push_back({groups, [groups] { return ask_for_command(*groups); }});
}

}  // namespace mxring::cli
