// Reading a log for a command: opening it with an explanation when that fails, choosing records by
// offset, count and time, and walking over them past damage.
//
// Thread: one. Failure: told on standard error; the result is the command's exit code.
#pragma once

#include <mxring/log_reader.h>

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>

#include "cli/progress.h"

namespace CLI {
class App;
}

namespace mxring::cli {

// The directory argument every log command has.
void add_log_directory(CLI::App& command, std::string& directory);
// The reader, or the exit code after complaining.
std::expected<LogReader, int> open_log(const std::string& directory);

// Why a log cannot be read at all, and what to do.
void complain_about_log(const LogError& error);

struct Selection {
  std::string directory;
  std::optional<std::int64_t> from;  // below 0: counted from the end
  std::optional<std::uint64_t> count;
  std::string since;
  std::string until;
};

// The three ways to say where to begin, for commands that take no other of a selection.
void add_start(CLI::App& command, Selection& selection);

void add_selection(CLI::App& command, Selection& selection);
// Moves the reader to the first record selected; 0, or the exit code after complaining. An offset
// beyond the end is a failure.
int seek_to_start(LogReader& reader, const Selection& selection);

// Calls `visit` for each record selected until it returns false. Damaged records are told on
// standard error and left out; the exit code is then kFailed.
int walk(LogReader& reader, const Selection& selection, Progress* progress,
         const std::function<bool(const Record&)>& visit);
// The same, after seek_to_start().
int walk_from_here(LogReader& reader, const Selection& selection, Progress* progress,
                   const std::function<bool(const Record&)>& visit);

// What went wrong, in one line with the place.
std::string describe(const LogError& error);
// Whether a reader can go on behind this error.
bool can_continue(const LogError& error);

}  // namespace mxring::cli
