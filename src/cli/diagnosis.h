// The commands for when something may be wrong.
#pragma once

#include "cli/command.h"

namespace mxring::cli {

void add_selftest(CLI::App& program, Commands& commands);
void add_bundle(CLI::App& program, Commands& commands);

}  // namespace mxring::cli
