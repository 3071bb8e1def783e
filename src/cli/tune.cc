// `mxring tune`: what this host gives the receiver, and what its settings are worth here.
#include "cli/tune.h"

#include <CLI/CLI.hpp>

namespace mxring::cli {

std::expected<server::Config, std::string> config_to_tune(const std::string& file) {
  auto config = server::load_config(file);
  if (!config) return std::unexpected(config.error().message);
  if (const auto valid = server::validate(*config); !valid) {
    return std::unexpected(valid.error().message);
  }
  return *std::move(config);
}

void add_tune(CLI::App& program, Commands& commands) {
  CLI::App* tune = program.add_subcommand("tune", "Look at the host, try the settings");
  tune->require_subcommand(0, 1);
  add_tune_check(*tune, commands);
  add_tune_sweep(*tune, commands);
  commands.push_back({tune, [tune] { return ask_for_command(*tune); }});
}

}  // namespace mxring::cli
