// mxring: an inbound mail exchanger. This file understands the command line as a whole; every
// command is in a file of its own.
//
// Exit codes: 0 done, 1 failed at run time, 2 usage, 78 bad configuration, 99 a threshold of `load`
// broken.
#include <fmt/format.h>

#ifdef MXRING_MIMALLOC
#include <mimalloc.h>
#endif

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>

#include "base/text.h"
#include "cli/allocation.h"
#include "cli/command.h"

namespace {

using mxring::cli::Command;
using mxring::cli::Commands;

constexpr const char* kDescription =
    "mxring receives mail over SMTP on io_uring and appends it durably to a log.\n"
    "A message is acknowledged only after it is on stable storage.";

constexpr const char* kFooter =
    "First steps:\n"
    "  mxring serve                        receive on 127.0.0.1:2525 into ./mxring-log\n"
    "  mxring log tail                     watch messages arrive\n"
    "  mxring log cat --raw --from 0       read them\n"
    "  mxring serve --help-config          every configuration key, its meaning and default\n"
    "\n"
    "Exit codes: 0 done, 1 failed at run time, 2 usage, 78 bad configuration, 99 a threshold of\n"
    "`load` broken.";

// Asking the allocator for its version also keeps the linker from dropping it.
std::string version_text() {
#ifdef MXRING_MIMALLOC
  const int allocator = mi_version();
  return fmt::format("mxring {} (mimalloc {}.{}.{})", MXRING_VERSION, allocator / 100,
                     allocator / 10 % 10, allocator % 10);
#else
  return fmt::format("mxring {} (system allocator)", MXRING_VERSION);
#endif
}

// The nearest subcommand to a word that is none, for "did you mean".
std::string suggestion(const CLI::App& program, int argc, char** argv) {
  const CLI::App* level = &program;
  for (int i = 1; i < argc && argv[i][0] != '-'; ++i) {
    const CLI::App* next = nullptr;
    std::vector<std::string> names;
    for (const CLI::App* command : level->get_subcommands([](const CLI::App*) { return true; })) {
      if (command->get_name() == argv[i]) next = command;
      names.push_back(command->get_name());
    }
    if (next == nullptr) {
      const std::string_view near = mxring::base::nearest(argv[i], names);
      return near.empty() ? std::string() : fmt::format("; did you mean \"{}\"?", near);
    }
    level = next;
  }
  return {};
}

// Help and version go to standard output with 0, mistakes to standard error with 2.
int explain_parse(CLI::App& program, const CLI::ParseError& error, int argc, char** argv) {
  if (error.get_exit_code() == 0) return program.exit(error);
  mxring::cli::complain(
      fmt::format("{}{}", mxring::base::escaped(error.what()), suggestion(program, argc, argv)));
  mxring::cli::complain("see `mxring --help`, or `mxring COMMAND --help`");
  return mxring::cli::kUsage;
}

int run(int argc, char** argv) {
  mxring::cli::set_program_path(argc > 0 ? argv[0] : "mxring");
  CLI::App program(kDescription, "mxring");
  program.footer(kFooter);
  program.set_version_flag("--version", version_text());
  program.require_subcommand(0, 1);
  program.get_formatter()->column_width(28);
  Commands commands;
  mxring::cli::add_serve(program, commands);
  mxring::cli::add_load(program, commands);
  mxring::cli::add_log(program, commands);
  mxring::cli::add_dns(program, commands);
  mxring::cli::add_spf(program, commands);
  mxring::cli::add_dmarc(program, commands);
  mxring::cli::add_auth(program, commands);
  mxring::cli::add_dkim(program, commands);
  mxring::cli::add_report(program, commands);
  mxring::cli::add_tune(program, commands);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return explain_parse(program, error, argc, argv);
  }
  for (const Command& command : commands) {
    if (command.app->parsed()) return command.run();
  }
  std::fputs(program.help().c_str(), stdout);
  return mxring::cli::kDone;
}

}  // namespace

int main(int argc, char** argv) {
#ifdef MXRING_MIMALLOC
  mxring::cli::install_allocation_counter();
#endif
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    // Memory, or the command-line library; the commands themselves return their failures.
    mxring::cli::complain(error.what());
    return mxring::cli::kFailed;
  }
}
