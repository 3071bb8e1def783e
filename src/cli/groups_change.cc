// `mxring groups create`, `delete`, `hold`, `release`, `pause`, `resume`.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/clock.h"
#include "base/text.h"
#include "cli/groups.h"
#include "cli/log_walk.h"
#include "seglog/group_reader.h"

namespace mxring::cli {

namespace {

struct CreateArguments {
  GroupArguments group;
  Selection start;
  bool latest = false;
  bool no_hold = false;
};

int run_create(const CreateArguments& arguments) {
  auto reader = open_log(arguments.group.directory);
  if (!reader) return reader.error();
  seglog::GroupOptions options;
  options.only_new = true;
  options.holds = !arguments.no_hold;
  if (arguments.latest) {
    options.start.kind = seglog::GroupStart::Kind::kLatest;
  } else if (arguments.start.from || !arguments.start.since.empty()) {
    if (const int failed = seek_to_start(*reader, arguments.start); failed != kDone) return failed;
    options.start = {seglog::GroupStart::Kind::kOffset, reader->position(), 0};
  }
  auto place = open_group_place(arguments.group.directory);
  if (!place) return place.error();
  {
    const auto made = seglog::GroupReader::open(arguments.group.directory, arguments.group.group,
                                                options, base::read_clocks());
    if (!made) {
      complain(base::escaped(made.error().message));
      return kFailed;
    }
  }
  return show_group(*place, arguments.group);
}

int run_delete(const GroupArguments& arguments, bool force) {
  auto place = open_group_place(arguments.directory);
  if (!place) return place.error();
  auto owned = own_group(*place, arguments.group);
  if (!owned) return owned.error();
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(arguments.directory) / seglog::kGroupsName;
  const fs::path dead = folder / (arguments.group + ".dead");
  std::error_code error;
  if (fs::exists(dead, error) && !fs::is_empty(dead, error) && !force) {
    complain(
        fmt::format("group {} has dead letters: look at them (`mxring groups dead`), or add "
                    "--force to delete them with it",
                    arguments.group));
    return kFailed;
  }
  GroupFacts facts = look_at_group(*place, arguments.group);
  const int at = place->folder.fd();
  if (::unlinkat(at, seglog::cursor_name(arguments.group).c_str(), 0) != 0 || ::fsync(at) != 0) {
    complain(fmt::format("group {} cannot be deleted: {}", arguments.group,
                         std::system_category().message(errno)));
    return kFailed;
  }
  for (const char* ending : {".owner", ".state", ".notes"}) {
    ::unlinkat(at, (arguments.group + ending).c_str(), 0);
  }
  fs::remove_all(dead, error);
  facts.state = "deleted";
  facts.owner_pid = 0;
  const std::string text =
      arguments.json ? groups_json({facts}) : fmt::format("group {} is deleted\n", arguments.group);
  ::fputs(text.c_str(), stdout);
  return kDone;
}

// Sets and clears flags of a cursor.
int run_flags(const GroupArguments& arguments, std::uint32_t set, std::uint32_t clear) {
  auto place = open_group_place(arguments.directory);
  if (!place) return place.error();
  {
    auto owned = own_group(*place, arguments.group);
    if (!owned) return owned.error();
    if (!owned->fields()) {
      complain(
          fmt::format("the cursor of group {} is damaged; `mxring groups reset` makes it whole",
                      arguments.group));
      return kFailed;
    }
    seglog::CursorFields fields = *owned->fields();
    fields.flags = (fields.flags | set) & ~clear;
    if (const auto written = owned->write(fields); !written) {
      complain(fmt::format("the cursor of group {} cannot be written: {}", arguments.group,
                           std::system_category().message(written.error())));
      return kFailed;
    }
  }
  return show_group(*place, arguments);
}

void add_flag_command(CLI::App& groups, Commands& commands, const char* name, const char* help,
                      std::uint32_t set, std::uint32_t clear) {
  CLI::App* command = groups.add_subcommand(name, help);
  const auto arguments = std::make_shared<GroupArguments>();
  add_group_arguments(*command, *arguments);
  commands.push_back(
      {command, [arguments, set, clear] { return run_flags(*arguments, set, clear); }});
}

}  // namespace

void add_groups_change(CLI::App& groups, Commands& commands) {
  CLI::App* create = groups.add_subcommand("create", "Make a group, durably");
  const auto arguments = std::make_shared<CreateArguments>();
  add_group_arguments(*create, arguments->group);
  add_start(*create, arguments->start);
  create->add_flag("--latest", arguments->latest, "Begin with what comes from now on")
      ->excludes("--from")
      ->excludes("--since");
  create->add_flag("--no-hold", arguments->no_hold, "Retention does not wait for it");
  commands.push_back({create, [arguments] { return run_create(*arguments); }});

  CLI::App* remove = groups.add_subcommand("delete", "Forget a group and its place");
  const auto to_delete = std::make_shared<GroupArguments>();
  const auto force = std::make_shared<bool>(false);
  add_group_arguments(*remove, *to_delete);
  remove->add_flag("--force", *force, "Its dead letters too");
  commands.push_back({remove, [to_delete, force] { return run_delete(*to_delete, *force); }});

  add_flag_command(groups, commands, "hold", "Let retention wait for a group", seglog::kCursorHolds,
                   0);
  add_flag_command(groups, commands, "release", "Let retention go on without a group", 0,
                   seglog::kCursorHolds);
  add_flag_command(groups, commands, "pause", "Let no reader go on for a group",
                   seglog::kCursorPaused, 0);
  add_flag_command(groups, commands, "resume", "Let readers go on again", 0, seglog::kCursorPaused);
}

}  // namespace mxring::cli
