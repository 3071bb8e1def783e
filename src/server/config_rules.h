// What must hold of a configuration as a whole, and of names in it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/config.h"

namespace mxring::server {

// A host or mail domain: dot-separated labels. Bytes above 127 pass (SMTPUTF8 domains).
bool is_domain(std::string_view text);

// ADDRESS:PORT or unix:PATH.
bool is_admin_address(std::string_view text);

// A fact about the whole that must hold.
struct ConfigRule {
  bool holds;
  // All that it is about; a place in the file is that of the first.
  std::vector<std::string_view> keys;
  std::string message;  // after the first key: "must hold a whole message"
};

std::vector<ConfigRule> config_rules(const Config& config);

// "mxring.toml:12:1: ", "--smtp: ", or nothing for a default.
std::string place_of(const Config& config, std::string_view key);

}  // namespace mxring::server
