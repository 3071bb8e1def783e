#include "cli/command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "base/text.h"

namespace mxring::cli {

namespace {

std::string& path_storage() {
  static std::string path = "mxring";
  return path;
}

}  // namespace

std::string_view program_path() {
  return path_storage();
}
void set_program_path(std::string_view path) {
  path_storage() = path;
}

int ask_for_command(const CLI::App& group) {
  std::vector<std::string> names;
  for (const CLI::App* command : group.get_subcommands([](const CLI::App*) { return true; })) {
    names.push_back(command->get_name());
  }
  std::fputs(group.help("mxring", CLI::AppFormatMode::Normal).c_str(), stderr);
  complain(fmt::format("{}: name one of {}", group.get_name(), fmt::join(names, ", ")));
  return kUsage;
}

void complain(std::string_view message) {
  std::string text = "mxring: ";
  for (const char c : base::without_controls(message)) {
    text += c;
    if (c == '\n') text += "mxring: ";
  }
  fmt::print(stderr, "{}\n", text);
}

}  // namespace mxring::cli
