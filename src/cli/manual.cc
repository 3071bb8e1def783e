// `mxring manual`: manual pages and completion, made from the same tables as --help and
// --help-config, so that no command, option or key can be missing in them.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "cli/command.h"
#include "cli/completion.h"
#include "cli/output.h"
#include "server/config.h"

namespace mxring::cli {

namespace {

struct ManualOptions {
  std::string what;
  std::string out;
};

// Text as roff takes it: nothing in it is a request or an escape.
std::string roff(std::string_view text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    line_begins = c == '\n';
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return out;
}

std::string first_line(std::string_view text) {
  return std::string(text.substr(0, text.find('\n')));
}

std::string header(std::string_view title, int section) {
  return fmt::format(".TH \"{}\" {} \"\" \"mxring {}\" \"mxring\"\n", upper(title), section,
                     MXRING_VERSION);
}

std::string option_entry(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : completion_names(option)) {
    names += fmt::format("{}\\fB{}\\fR", names.empty() ? "" : ", ", roff(name));
  }
  if (names.empty()) names = fmt::format("\\fI{}\\fR", roff(option.get_name(true)));
  const std::string type = option.get_type_size() == 0 ? "" : option.get_type_name();
  return fmt::format(".TP\n{}{}\n{}\n", names,
                     type.empty() ? "" : fmt::format(" \\fI{}\\fR", roff(type)),
                     roff(option.get_description()));
}

std::string synopsis(const CLI::App& command, const std::string& path) {
  std::string line = fmt::format(".B {}\n", roff(path));
  if (!command.get_options().empty()) line += "[\\fIoption\\fR ...]\n";
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    const std::string name = roff(option->get_name(true));
    line += option->get_required() ? fmt::format("\\fI{}\\fR\n", name)
                                   : fmt::format("[\\fI{}\\fR]\n", name);
  }
  if (!subcommands(command).empty()) line += "\\fIcommand\\fR\n";
  return line;
}

// The page of one command: "mxring-log-cat" is that of `mxring log cat`.
std::string page(const CLI::App& command, const std::string& path) {
  std::string name = path;
  for (char& c : name) c = c == ' ' ? '-' : c;
  std::string out = header(name, 1);
  out +=
      fmt::format(".SH NAME\n{} \\- {}\n", roff(name), roff(first_line(command.get_description())));
  out += ".SH SYNOPSIS\n" + synopsis(command, path);
  out += fmt::format(".SH DESCRIPTION\n{}\n", roff(command.get_description()));
  const auto below = subcommands(command);
  if (!below.empty()) {
    out += ".SH COMMANDS\n";
    for (const CLI::App* one : below) {
      out +=
          fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(one->get_name()), roff(one->get_description()));
    }
  }
  if (!command.get_options().empty()) out += ".SH OPTIONS\n";
  for (const CLI::Option* option : command.get_options()) out += option_entry(*option);
  if (!command.get_footer().empty()) {
    out += fmt::format(".SH NOTES\n.nf\n{}\n.fi\n", roff(command.get_footer()));
  }
  out +=
      ".SH EXIT STATUS\n0 done, 1 failed at run time, 2 usage, 78 bad configuration, 99 a "
      "threshold of \\fBload\\fR broken.\n";
  out += ".SH SEE ALSO\n.BR mxring (1),\n.BR mxring.toml (5)\n";
  return out;
}

// What --help-config prints, as a page: a comment is the meaning of the key after it.
std::string configuration_page() {
  std::string out = header("mxring.toml", 5);
  out +=
      ".SH NAME\nmxring.toml \\- configuration of mxring\n.SH DESCRIPTION\nTOML. An unknown key, "
      "a wrong type or an impossible value is an error. Each key is shown with its default.\n";
  std::istringstream lines(server::to_toml(server::default_config(), true));
  std::string meaning;
  bool before_keys = true;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# ")) {
      meaning += line.substr(2) + "\n";
    } else if (line.empty() && std::exchange(before_keys, false)) {
      out += fmt::format(".PP\n{}", roff(std::exchange(meaning, {})));
    } else if (line.starts_with("[")) {
      out += fmt::format(".SH \"{}\"\n", roff(line));
    } else if (!line.empty()) {
      out += fmt::format(".TP\n\\fB{}\\fR\n{}", roff(line), roff(meaning));
      meaning.clear();
    }
  }
  return out + ".SH SEE ALSO\n.BR mxring (1),\n.BR mxring-serve (1)\n";
}

bool write_page(const std::filesystem::path& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (file) return true;
  complain(fmt::format("{}: {}", path.string(), std::strerror(errno)));
  return false;
}

bool write_pages(const CLI::App& command, const std::string& path,
                 const std::filesystem::path& folder) {
  std::string name = path;
  for (char& c : name) c = c == ' ' ? '-' : c;
  if (!write_page(folder / (name + ".1"), page(command, path))) return false;
  for (const CLI::App* below : subcommands(command)) {
    if (!write_pages(*below, path + ' ' + below->get_name(), folder)) return false;
  }
  return true;
}

int run_manual(const CLI::App& program, const ManualOptions& options) {
  if (options.what == "pages") {
    if (options.out.empty()) {
      complain("pages are many files: name a folder with --out");
      return kUsage;
    }
    std::error_code error;
    std::filesystem::create_directories(options.out, error);
    const std::filesystem::path folder = options.out;
    const bool good = write_pages(program, program.get_name(), folder) &&
                      write_page(folder / "mxring.toml.5", configuration_page());
    return good ? kDone : kFailed;
  }
  const std::string text = completion(program, options.what);
  if (text.empty()) {
    complain(fmt::format("{}: one of pages, bash, zsh, fish", base::escaped(options.what)));
    return kUsage;
  }
  if (!options.out.empty()) return write_page(options.out, text) ? kDone : kFailed;
  Output output;
  output.write(text);
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_manual(CLI::App& program, Commands& commands) {
  CLI::App* command =
      program.add_subcommand("manual", "Manual pages and completion, made from what --help says");
  auto options = std::make_shared<ManualOptions>();
  command->add_option("WHAT", options->what, "pages, bash, zsh or fish")->required()->type_name("");
  command->add_option("--out", options->out, "A folder for pages, else a file; standard output")
      ->type_name("PATH");
  command->footer(
      "  mxring manual pages --out man    then: man -l man/mxring.1\n"
      "  . <(mxring manual bash)          completion in this shell");
  commands.push_back({command, [&program, options] { return run_manual(program, *options); }});
}

}  // namespace mxring::cli
