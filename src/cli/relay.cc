// `mxring relay`: mxring-relay, which delivers a group of the log to a sink, in place of this
// process. It is a program of its own, because it links what the receiver must not.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "base/text.h"
#include "cli/command.h"

namespace mxring::cli {

namespace {

struct RelayArguments {
  std::string config;
  std::string admin;
  bool test = false;
};

// Beside this program, else wherever PATH leads.
std::string relay_program() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto beside = self.parent_path() / "mxring-relay";
    if (std::filesystem::exists(beside, error)) return beside.string();
  }
  return "mxring-relay";
}

int run_relay(const RelayArguments& arguments) {
  std::string program = relay_program();
  std::vector<std::string> words{program, "-c", arguments.config};
  if (!arguments.admin.empty()) words.insert(words.end(), {"--admin", arguments.admin});
  if (arguments.test) words.emplace_back("-t");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(program.c_str(), argv.data());
  complain(fmt::format("{} cannot be run: {}; it comes with mxring", base::escaped(program),
                       std::system_category().message(errno)));
  return kFailed;
}

}  // namespace

void add_relay(CLI::App& program, Commands& commands) {
  CLI::App* relay =
      program.add_subcommand("relay", "Deliver a group to a webhook, LMTP, a Maildir or NATS");
  const auto arguments = std::make_shared<RelayArguments>();
  relay->add_option("-c,--config", arguments->config, "Its configuration")->required();
  relay->add_option("--admin", arguments->admin, "Serve metrics at ADDR:PORT or unix:PATH");
  relay->add_flag("-t,--test", arguments->test, "Check the configuration and exit");
  relay->footer("`mxring-relay --help-config` shows every key.");
  commands.push_back({relay, [arguments] { return run_relay(*arguments); }});
}

}  // namespace mxring::cli
