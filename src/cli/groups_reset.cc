// `mxring groups reset`: moves a group's cursor. Only says what would happen, without --execute.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <memory>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/groups.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "cli/time_argument.h"
#include "seglog/lag.h"

namespace mxring::cli {

namespace {

struct ResetArguments {
  GroupArguments group;
  bool earliest = false;
  bool latest = false;
  std::optional<std::uint64_t> offset;
  std::string time;
  std::string duration;
  std::optional<std::int64_t> shift;
  bool execute = false;
};

struct Move {
  std::uint64_t from = 0;
  std::uint64_t to = 0;
};

// Where to; nothing after complaining.
std::optional<std::uint64_t> target(const ResetArguments& arguments, LogReader& reader,
                                    std::uint64_t current) {
  const std::uint64_t first = reader.first();
  const std::uint64_t end = reader.end();
  std::uint64_t to = first;
  if (arguments.latest) to = end;
  if (arguments.offset) to = *arguments.offset;
  const std::string& time = arguments.time.empty() ? arguments.duration : arguments.time;
  if (!time.empty()) {
    if (const auto moved = reader.seek_time(*parse_time(time, base::read_clocks().wall)); !moved) {
      complain(describe(moved.error()));
      return std::nullopt;
    }
    to = reader.position();
  }
  if (arguments.shift) {
    const std::int64_t by = *arguments.shift;
    const auto back = by < 0 ? static_cast<std::uint64_t>(-(by + 1)) + 1 : 0;
    to = by < 0 ? current - std::min(current, back) : current + static_cast<std::uint64_t>(by);
    to = std::max(to, first);
  }
  if (to > end || to < first) {
    complain(fmt::format("offset {} is not in the log, which has {} to {}", to, first, end));
    return std::nullopt;
  }
  return to;
}

int report(const ResetArguments& arguments, const Move& move, std::uint64_t bytes) {
  const std::uint64_t records = std::max(move.from, move.to) - std::min(move.from, move.to);
  Output output;
  if (arguments.group.json) {
    base::JsonWriter json;
    json.begin_object();
    json.key("group").value(arguments.group.group);
    json.key("from").value(move.from).key("to").value(move.to);
    json.key("records").value(records).key("bytes").value(bytes);
    json.key("executed").value(arguments.execute).end_object();
    output.write(std::move(json).text() + '\n');
  } else {
    output.write(fmt::format("group {}: from {} to {}: {}, {}, {}{}\n", arguments.group.group,
                             move.from, move.to, base::counted(records, "record"),
                             base::format_bytes(bytes),
                             move.to < move.from ? "come again" : "are passed over",
                             arguments.execute ? "" : "; nothing was changed, add --execute"));
  }
  output.flush();
  return output.failed() ? kFailed : kDone;
}

int run_reset(const ResetArguments& arguments) {
  auto reader = open_log(arguments.group.directory);
  if (!reader) return reader.error();
  auto place = open_group_place(arguments.group.directory);
  if (!place) return place.error();
  auto owned = own_group(*place, arguments.group.group);
  if (!owned) return owned.error();
  seglog::CursorFields fields;
  fields.flags = seglog::kCursorHolds;  // of one that is damaged
  fields.next = reader->first();
  if (owned->fields()) fields = *owned->fields();
  const auto to = target(arguments, *reader, fields.next);
  if (!to) return kFailed;
  const Move move{fields.next, *to};
  const std::uint64_t bytes =
      seglog::bytes_between(place->log.fd(), std::min(move.from, reader->end()), move.to);
  if (arguments.execute) {
    fields.next = fields.handed_over = *to;
    fields.committed_at_us = base::read_clocks().wall.us;
    const auto before = *to > 0 ? seglog::log_id_at(place->log.fd(), *to - 1) : std::nullopt;
    const auto at = seglog::log_id_at(place->log.fd(), *to);
    fields.set_id(before ? *before : at ? *at : reader->log_id());
    // What a sink remembered is of the place it was at.
    std::fill(std::begin(fields.sink), std::end(fields.sink), std::uint8_t{0});
    fields.sink[seglog::kSinkMovedAt] = 1;
    if (const auto written = owned->write(fields); !written) {
      complain(fmt::format("the cursor of group {} cannot be written: {}", arguments.group.group,
                           std::system_category().message(written.error())));
      return kFailed;
    }
  }
  return report(arguments, move, bytes);
}

std::string check_time(const std::string& text) {
  return parse_time(text, base::read_clocks().wall)
             ? std::string()
             : fmt::format("{}: not a time; {}", base::escaped(text), kTimeForms);
}

std::string check_duration(const std::string& text) {
  return base::parse_duration_ns(text)
             ? std::string()
             : fmt::format("{}: not a duration; write 90s, 15m, 2h or 7d", base::escaped(text));
}

}  // namespace

void add_groups_reset(CLI::App& groups, Commands& commands) {
  CLI::App* reset = groups.add_subcommand("reset", "Move a group to another place in the log");
  const auto arguments = std::make_shared<ResetArguments>();
  add_group_arguments(*reset, arguments->group);
  auto* to = reset->add_option_group("where", "Exactly one of");
  to->add_flag("--to-earliest", arguments->earliest, "The oldest record that is kept");
  to->add_flag("--to-latest", arguments->latest, "What comes from now on");
  to->add_option("--to-offset", arguments->offset, "This offset")->type_name("N");
  to->add_option("--to-datetime", arguments->time, "What was received then or later")
      ->type_name("TIME")
      ->check(check_time);
  to->add_option("--by-duration", arguments->duration, "What was received that long ago or later")
      ->type_name("D")
      ->check(check_duration);
  to->add_option("--shift-by", arguments->shift, "That many records on, or back (-N)")
      ->type_name("N");
  to->require_option(1);
  reset->add_flag("--execute", arguments->execute, "Do it; without, only say what would happen");
  commands.push_back({reset, [arguments] { return run_reset(*arguments); }});
}

}  // namespace mxring::cli
