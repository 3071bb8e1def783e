// What `mxring tune check` and `mxring tune sweep` share.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "cli/command.h"
#include "server/config.h"

namespace mxring::cli {

void add_tune_check(CLI::App& tune, Commands& commands);
void add_tune_sweep(CLI::App& tune, Commands& commands);

// The configuration the receiver would run with: the file over the defaults, checked as a whole.
std::expected<server::Config, std::string> config_to_tune(const std::string& file);

}  // namespace mxring::cli
