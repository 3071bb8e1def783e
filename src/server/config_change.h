// What a running server takes over of a configuration that was read again.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "server/config.h"

namespace mxring::server {

// Whether a change of this key is in force for the next connection; the others need a restart.
bool changes_while_running(std::string_view path);

struct ConfigChange {
  Config config;  // the fresh values of keys that change while running, else the old
  std::vector<std::string> changed;  // keys that are different now
  std::vector<std::string> kept;     // keys that differ in the file, and stay as they were
};
// The error: what is new does not go together with what stays, or with what the program was started
// with.
std::expected<ConfigChange, ConfigError> change_config(const Config& running, const Config& fresh);

}  // namespace mxring::server
