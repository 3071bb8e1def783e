// What the commands below `mxring groups` share.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "cli/command.h"
#include "seglog/groups.h"
#include "server/group_facts.h"

namespace mxring::cli {

using server::GroupFacts;  // one line of `groups list` and one object of its JSON

// An opened log with its groups' folder; complains and gives the exit code when there is none.
struct GroupPlace {
  std::string directory;
  seglog::ReadFile log;
  seglog::ReadFile folder;  // not open: there has never been a group
};
std::expected<GroupPlace, int> open_group_place(const std::string& directory);

GroupFacts look_at_group(const GroupPlace& place, const std::string& group);
std::string groups_json(const std::vector<GroupFacts>& groups);
std::string groups_table(const std::vector<GroupFacts>& groups);

struct GroupArguments {
  std::string directory;
  std::string group;
  bool json = false;
};
// DIR G and --json. `optional`: without G it is about all of them.
void add_group_arguments(CLI::App& command, GroupArguments& arguments, bool optional = false);
// The cursor, owned; or the exit code after complaining.
std::expected<seglog::CursorFile, int> own_group(const GroupPlace& place, const std::string& group);
// Prints the group as it is now.
int show_group(const GroupPlace& place, const GroupArguments& arguments);

void add_groups_change(CLI::App& groups, Commands& commands);
void add_groups_reset(CLI::App& groups, Commands& commands);
void add_groups_dead(CLI::App& groups, Commands& commands);

}  // namespace mxring::cli
