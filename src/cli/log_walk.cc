#include "cli/log_walk.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/time_argument.h"

namespace mxring::cli {

namespace {

std::optional<std::int64_t> since_us(std::string_view text) {
  return parse_time(text, base::read_clocks().wall);
}

}  // namespace

void add_log_directory(CLI::App& command, std::string& directory) {
  directory = "./mxring-log";
  command.add_option("DIR", directory, "The log's directory")->capture_default_str();
}

std::string describe(const LogError& error) {
  std::string text = base::escaped(error.message);
  if (!error.segment.empty() && text.find(error.segment) == std::string::npos) {
    text += fmt::format(" ({}, byte {})", error.segment, error.position);
  }
  return text;
}

bool can_continue(const LogError& error) {
  return error.kind == LogErrorKind::kDamaged || error.kind == LogErrorKind::kGone;
}

std::expected<LogReader, int> open_log(const std::string& directory) {
  auto reader = LogReader::open(directory);
  if (reader) return std::move(*reader);
  complain_about_log(reader.error());
  return std::unexpected(kFailed);
}

void complain_about_log(const LogError& error) {
  complain(describe(error));
  if (error.kind == LogErrorKind::kNotALog) {
    complain("name the directory that `mxring serve` writes to: mxring log ... DIR");
  }
  const std::string denied = std::system_category().message(EACCES);
  if (error.kind == LogErrorKind::kIo && error.message.ends_with(denied)) {
    complain(
        "the log is readable for the receiver's group: usermod -aG mxring YOU, then log in again");
  }
}

namespace {

CLI::Option* add_time(CLI::App& command, const char* name, std::string& text, const char* help) {
  return command.add_option(name, text, help)
      ->type_name("TIME")
      ->check([](const std::string& given) {
        return since_us(given)
                   ? std::string()
                   : fmt::format("{}: not a time; {}", base::escaped(given), kTimeForms);
      });
}

// -1 is the newest record; further back than the log goes is its beginning.
Offset resolve(const LogReader& reader, std::int64_t from) {
  if (from >= 0) return static_cast<Offset>(from);
  const Offset end = reader.end();
  const auto back = static_cast<Offset>(-(from + 1)) + 1;
  return back > end - reader.first() ? reader.first() : end - back;
}

}  // namespace

void add_start(CLI::App& command, Selection& selection) {
  auto* from = command.add_option(
      "--from", selection.from, "Begin at this offset; -1 is the newest record, -2 the one before");
  from->type_name("OFFSET");
  add_time(command, "--since", selection.since,
           "Begin with what was received then: 2026-11-22T01:02:03Z,\n"
           "2026-11-22, or 15m for that long ago")
      ->excludes(from);
}

void add_selection(CLI::App& command, Selection& selection) {
  add_log_directory(command, selection.directory);
  add_start(command, selection);
  command.add_option("--count", selection.count, "Stop after this many records")->type_name("N");
  add_time(command, "--until", selection.until, "Only what was received before that time");
}

int seek_to_start(LogReader& reader, const Selection& selection) {
  std::expected<void, LogError> moved;
  if (!selection.since.empty()) {
    moved = reader.seek_time(*since_us(selection.since));
  } else if (selection.from) {
    moved = reader.seek(resolve(reader, *selection.from));
  }
  if (moved) return kDone;
  if (moved.error().kind == LogErrorKind::kGone) {
    complain(fmt::format("records before offset {} have been removed by retention; starting there",
                         reader.first()));
    return kDone;
  }
  complain(describe(moved.error()));
  if (moved.error().kind == LogErrorKind::kBeyondEnd) {
    complain(
        "an offset of this log from before is below its end: the log was made anew or put back "
        "from an older copy, or it is another one; `mxring log info` shows what is there");
  }
  return kFailed;
}

int walk(LogReader& reader, const Selection& selection, Progress* progress,
         const std::function<bool(const Record&)>& visit) {
  if (const int failed = seek_to_start(reader, selection); failed != kDone) return failed;
  return walk_from_here(reader, selection, progress, visit);
}

int walk_from_here(LogReader& reader, const Selection& selection, Progress* progress,
                   const std::function<bool(const Record&)>& visit) {
  const Offset end = reader.end();
  std::optional<Offset> start;
  std::uint64_t visited = 0;
  std::uint64_t bytes = 0;
  int result = kDone;
  const std::int64_t until_us =
      selection.until.empty() ? INT64_MAX : since_us(selection.until).value_or(INT64_MAX);
  while (!selection.count || visited < *selection.count) {
    const auto record = reader.next();
    if (!record) {
      if (progress != nullptr) progress->clear();
      complain(describe(record.error()));
      result = kFailed;
      if (!can_continue(record.error())) break;
      continue;
    }
    if (!*record) break;
    const Record& found = **record;
    if (!start) start = found.offset;
    // Not the end: times follow the clock, which may have been set back.
    if (found.received_at_us >= until_us) continue;
    ++visited;
    bytes += found.message.size();
    if (progress != nullptr && progress->due()) {
      std::uint64_t total = std::max<std::uint64_t>(end, found.offset + 1) - *start;
      if (selection.count) total = std::min(total, *selection.count);
      progress->show(
          static_cast<double>(visited) / static_cast<double>(total),
          fmt::format("{}, {}", base::counted(visited, "record"), base::format_bytes(bytes)));
    }
    if (!visit(found)) break;
  }
  if (progress != nullptr) progress->clear();
  return result;
}

}  // namespace mxring::cli
