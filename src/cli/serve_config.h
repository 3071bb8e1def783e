// The configuration that `mxring serve` runs with: the file over the defaults, the environment over
// the file, the flags over the environment. Read at the start, by -t, and again on reload.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "server/config.h"

namespace mxring::cli {

struct ServeOptions {
  std::string file;
  bool check = false;
  bool probe = false;  // with check: also try
  bool help_config = false;
  bool welcome = false;
  std::vector<std::string> smtp;
  std::vector<std::string> smtps;
  std::vector<std::string> resolvers;
  std::optional<std::string> admin;
  std::string log_dir;
  std::string hostname;
};

// All mistakes, a line for each.
std::expected<server::Config, server::ConfigError> load_config(const ServeOptions& options);

// `serve -t`: the configuration and what can be known of it here without binding, writing or asking
// anybody, or with `probe` by trying. Prints it, or every mistake; the exit code.
int check_config(const ServeOptions& options);

}  // namespace mxring::cli
