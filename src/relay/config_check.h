// What must hold between the keys of a relay's configuration, and for single values beyond their
// kind. Pure: no file is opened.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "relay/config.h"

namespace mxring::relay {

// `place(section, key)` is "FILE:LINE:COLUMN" of a key, or of its table.
using Place = std::function<std::string(std::string_view section, std::string_view key)>;
void check_config(const Config& config, const Place& place, std::vector<std::string>& mistakes);

// What the files that a configuration names say; opened, and their contents looked at.
struct FileCheck {
  std::vector<std::string> mistakes;
  std::vector<std::string> notices;
};
FileCheck check_files(const Config& config);

// A URL taken apart as far as a relay cares.
struct Url {
  std::string scheme;
  std::string host;  // without brackets
  std::string port;  // empty: the scheme's
};
std::optional<Url> parse_url(std::string_view text);

// "HOST:PORT", "[ADDR]:PORT" or "unix:PATH".
struct PeerAddress {
  std::string unix_path;
  std::string host;
  std::string port;
};
std::optional<PeerAddress> parse_peer(std::string_view text);

// An address that is not to be reached by chance: loopback, private, link-local, multicast, and
// what stands for them.
bool is_private_address(std::string_view address);

}  // namespace mxring::relay
