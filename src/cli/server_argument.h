// The server that `mxring load` talks to: an address or a host name, with a port or without.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip_address.h"

namespace mxring::cli {

struct ServerArgument {
  std::string host;  // an address, or a name
  std::uint16_t port = 25;
};

// "127.0.0.1:2525", "[::1]:2525", "::1", "192.0.2.1", "mx.example.org", "localhost:2525"; else what
// is wrong with it.
std::expected<ServerArgument, std::string> parse_server_argument(std::string_view text);

// Looks a name up: by these DNS servers, or as this system does when there are none. Of several
// addresses it is the first that takes a connection; with none that does, the first.
std::expected<base::Endpoint, std::string> find_server(const ServerArgument& server,
                                                       const std::vector<std::string>& resolvers);

}  // namespace mxring::cli
