// mxring-relay: delivers what a group of a mxring log has not dealt with to one sink. A program of
// its own, so that the receiver links neither libcurl nor libnats.
//
// Exit codes: 0 done, 1 failed at run time, 2 usage, 78 bad configuration.
#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>

#include "relay/config.h"
#include "relay/config_check.h"
#include "relay/manual.h"
#include "relay/runner.h"
#include "relay/sink.h"

namespace {

using namespace mxring::relay;

int usage(const std::string& message) {
  say(message + "; see mxring-relay --help");
  return kUsage;
}

struct Arguments {
  std::string config;
  std::string admin;
  std::string manual;
  bool test = false;
};

// True when the value of `name` was taken, from "NAME VALUE" or "NAME=VALUE".
bool take_value(std::string_view name, int argc, char** argv, int& at, std::string& out) {
  const std::string_view word = argv[at];
  if (word == name && at + 1 < argc) {
    out = argv[++at];
    return true;
  }
  if (!name.starts_with("--") || !word.starts_with(name) || word.size() <= name.size() ||
      word[name.size()] != '=') {
    return false;
  }
  out = word.substr(name.size() + 1);
  return true;
}

int run(const Arguments& arguments) {
  auto config = read_config(arguments.config);
  if (!config) {
    for (const std::string& mistake : config.error()) say(mistake);
    return kBadConfiguration;
  }
  if (!arguments.admin.empty()) config->admin = arguments.admin;
  if (!is_built_in(config->sink)) {
    say(fmt::format("{}: [{}] is not built into this mxring-relay, which has {}", arguments.config,
                    word(config->sink), sinks_built_in()));
    return kBadConfiguration;
  }
  const FileCheck files = check_files(*config);
  for (const std::string& mistake : files.mistakes) say(mistake);
  if (!files.mistakes.empty()) return kBadConfiguration;
  for (const std::string& notice : files.notices) say(notice);
  if (arguments.test) {
    std::printf("%s: ok: group %s to %s\n", arguments.config.c_str(), config->group.c_str(),
                std::string(word(config->sink)).c_str());
    return kDone;
  }
  Runner runner(*config);
  return runner.run();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "-h" || word == "--help") {
      std::fputs(help_text().c_str(), stdout);
      return kDone;
    }
    if (word == "--version") {
      std::printf("mxring-relay %s (%s)\n", MXRING_VERSION, sinks_built_in().c_str());
      return kDone;
    }
    if (word == "--help-config") {
      std::fputs(config_help().c_str(), stdout);
      return kDone;
    }
    if (word == "-t" || word == "--test") {
      arguments.test = true;
    } else if (!take_value("-c", argc, argv, i, arguments.config) &&
               !take_value("--config", argc, argv, i, arguments.config) &&
               !take_value("--admin", argc, argv, i, arguments.admin) &&
               !take_value("--manual", argc, argv, i, arguments.manual)) {
      return usage(fmt::format("\"{}\" is not understood", word));
    }
  }
  if (!arguments.manual.empty()) {
    const std::string text = manual(arguments.manual, MXRING_VERSION);
    if (text.empty()) return usage("--manual takes page, config, bash, zsh or fish");
    std::fputs(text.c_str(), stdout);
    return kDone;
  }
  if (arguments.config.empty()) return usage("-c FILE is missing");
  return run(arguments);
}
