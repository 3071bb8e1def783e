// Addresses on a command line.
#pragma once

namespace CLI {
class App;
}

namespace mxring::cli {

// Has --smtp, --smtps, --admin and --resolver of `serve` looked at as usage, before they become
// part of a configuration: a flag that cannot be read is no bad configuration.
void check_addresses(CLI::App& serve);

}  // namespace mxring::cli
