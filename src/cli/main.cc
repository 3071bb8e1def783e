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
#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "base/text.h"
#include "cli/address_argument.h"
#include "cli/allocation.h"
#include "cli/command.h"
#include "cli/diagnosis.h"

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
  return fmt::format("mxring {} (mimalloc {}.{}.{})\nbuilt with " MXRING_LIBRARIES, MXRING_VERSION,
                     allocator / 100, allocator / 10 % 10, allocator % 10);
#else
  return fmt::format("mxring {} (system allocator)\nbuilt with " MXRING_LIBRARIES, MXRING_VERSION);
#endif
}

// Help without what CLI11 adds about flags that exclude each other: the text of a flag says that
// where it matters.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    std::string text = CLI::Formatter::make_option_opts(option);
    return text.substr(0, text.find(" Excludes:"));
  }
};

std::string did_you_mean(std::string_view word, const std::vector<std::string>& names) {
  const std::string_view near = mxring::base::nearest(word, names);
  return near.empty() ? std::string() : fmt::format("; did you mean {}?", near);
}

// The command that a line names, as far as it does.
struct Named {
  CLI::App* command;
  std::string path;  // "mxring log cat"
  int next;          // index of the first word after it
};

Named named_in(CLI::App& program, int argc, char** argv) {
  Named named{&program, program.get_name(), 1};
  for (; named.next < argc; ++named.next) {
    const auto below = named.command->get_subcommands(
        [&](const CLI::App* command) { return command->get_name() == argv[named.next]; });
    if (below.empty()) break;
    named.command = below.front();
    named.path += ' ' + below.front()->get_name();
  }
  return named;
}

// The first word of the line that no command and no flag takes; what follows it may only be wrong
// because of it. Empty when that is not what is wrong.
std::string first_unexpected(const CLI::ParseError& error, const Named& named, int argc,
                             char** argv) {
  if (dynamic_cast<const CLI::ExtrasError*>(&error) == nullptr) return {};
  const std::vector<std::string> extras = named.command->remaining(true);
  for (int i = named.next; i < argc; ++i) {
    if (std::ranges::find(extras, argv[i]) != extras.end()) return argv[i];
  }
  return extras.empty() ? std::string() : extras.front();
}

// The nearest command, or flag, to a word that is none.
std::string suggestion(const Named& named, std::string_view word) {
  if (word.starts_with("--")) {
    std::vector<std::string> flags;
    for (const CLI::Option* option : named.command->get_options()) {
      for (const std::string& name : option->get_lnames()) flags.push_back("--" + name);
    }
    return did_you_mean(word.substr(0, word.find('=')), flags);
  }
  std::vector<std::string> names;
  for (const CLI::App* command :
       named.command->get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  return did_you_mean(word, names);
}

std::string unexpected_words(const Named& named, std::string_view word) {
  const bool flag = word.starts_with('-') && word.size() > 1;
  const bool group = !named.command->get_subcommands([](const CLI::App*) { return true; }).empty();
  return fmt::format("{}: {}{}", mxring::base::escaped(word),
                     flag    ? "not a flag of this command"
                     : group ? "not a command"
                             : "not expected: this command takes no more words",
                     suggestion(named, word));
}

// What is wrong with a flag's value, as the other complaints say it: "--from abc: not an offset".
std::string words_of(const CLI::ParseError& error, const Named& named) {
  std::string text = error.what();
  const bool conversion = dynamic_cast<const CLI::ConversionError*>(&error) != nullptr;
  const bool validation = dynamic_cast<const CLI::ValidationError*>(&error) != nullptr;
  if (!conversion && !validation) return text;
  for (const CLI::Option* option : named.command->get_options()) {
    for (const std::string& value : option->results()) {
      const std::string flag = option->get_name();
      if (conversion && text.ends_with(fmt::format("{} = {}", flag, value))) {
        const bool offset = option->get_type_name() == "OFFSET";
        return fmt::format("{} {}: not {}", flag, value,
                           offset ? "an offset; write a number" : "a number");
      }
      if (!validation || !text.starts_with(flag + ": ")) continue;
      std::string_view why = std::string_view(text).substr(flag.size() + 2);
      if (why.starts_with("Value ")) why.remove_prefix(6);
      if (!why.starts_with(value)) continue;
      why.remove_prefix(value.size());
      return fmt::format("{} {}{}{}", flag, value, why.starts_with(':') ? "" : ":", why);
    }
  }
  return text;
}

// Help and version go to standard output with 0, mistakes to standard error with 2.
int explain_parse(CLI::App& program, const CLI::ParseError& error, int argc, char** argv) {
  if (error.get_exit_code() == 0) return program.exit(error);
  const Named named = named_in(program, argc, argv);
  const std::string unexpected = first_unexpected(error, named, argc, argv);
  mxring::cli::complain(unexpected.empty() ? mxring::base::escaped(words_of(error, named))
                                           : unexpected_words(named, unexpected));
  mxring::cli::complain(fmt::format("see `{} --help`", named.path));
  return mxring::cli::kUsage;
}

// `mxring help log cat` as `mxring log cat --help`, which says the same; nothing when its words
// are no command. What follows a flag is left to the parser.
std::vector<char*> line_for_help(CLI::App& program, int argc, char** argv) {
  static char help_flag[] = "--help";
  const Named named = named_in(program, argc - 1, argv + 1);
  std::vector<char*> line{argv[0]};
  if (1 + named.next < argc && argv[1 + named.next][0] != '-') return {};
  for (int i = 2; i < argc; ++i) line.push_back(argv[i]);
  line.push_back(help_flag);
  return line;
}

void add_help_and_version(CLI::App& program, Commands& commands) {
  CLI::App* help = program.add_subcommand("help", "What a command does: `mxring help log cat`");
  const auto words = std::make_shared<std::vector<std::string>>();
  help->add_option("COMMAND", *words, "Its words; none: this program as a whole")->type_name("");
  CLI::App* version =
      program.add_subcommand("version", "The version, the allocator in use, and the libraries");
  commands.push_back({version, [] {
                        fmt::print("{}\n", version_text());
                        return mxring::cli::kDone;
                      }});
}

int run(int argc, char** argv) {
  mxring::cli::set_program_path(argc > 0 ? argv[0] : "mxring");
  CLI::App program(kDescription, "mxring");
  program.set_version_flag("-V,--version", version_text());
  program.require_subcommand(0, 1);
  const auto formatter = std::make_shared<HelpFormatter>();
  formatter->column_width(28);
  program.formatter(formatter);
  Commands commands;
  mxring::cli::add_serve(program, commands);
  mxring::cli::check_addresses(*program.get_subcommand("serve"));
  mxring::cli::add_ctl(program, commands);
  mxring::cli::add_top(program, commands);
  mxring::cli::add_trace(program, commands);
  mxring::cli::add_load(program, commands);
  mxring::cli::add_log(program, commands);
  mxring::cli::add_groups(program, commands);
  mxring::cli::add_relay(program, commands);
  mxring::cli::add_dns(program, commands);
  mxring::cli::add_spf(program, commands);
  mxring::cli::add_dmarc(program, commands);
  mxring::cli::add_policy(program, commands);
  mxring::cli::add_auth(program, commands);
  mxring::cli::add_dkim(program, commands);
  mxring::cli::add_decode(program, commands);
  mxring::cli::add_report(program, commands);
  mxring::cli::add_selftest(program, commands);
  mxring::cli::add_bundle(program, commands);
  mxring::cli::add_tune(program, commands);
  mxring::cli::add_manual(program, commands);
  add_help_and_version(program, commands);
  // After the commands, which would have it in their help too.
  program.footer(kFooter);
  std::vector<char*> line(argv, argv + argc);
  if (argc > 1 && std::string_view(argv[1]) == "help") line = line_for_help(program, argc, argv);
  if (line.empty()) {
    const Named named = named_in(program, argc - 1, argv + 1);
    mxring::cli::complain(unexpected_words(named, argv[1 + named.next]));
    mxring::cli::complain(fmt::format("see `{} --help`", named.path));
    return mxring::cli::kUsage;
  }
  argc = static_cast<int>(line.size());
  argv = line.data();
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
