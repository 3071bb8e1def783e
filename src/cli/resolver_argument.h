// --resolver and --timeout, the same in every command that asks DNS.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "dns/blocking.h"

namespace CLI {
class App;
}

namespace mxring::cli {

struct ResolverArgument {
  std::vector<std::string> servers;  // ADDR or ADDR:PORT or [ADDR6]:PORT; none: the system's
  std::string timeout = "5s";
};

void add_resolver(CLI::App& command, ResolverArgument& argument);

// "127.0.0.1:53 or 192.0.2.53:53": those that are asked, for a complaint about no answer.
std::string servers_asked(const ResolverArgument& argument);

// nullptr after saying why; `exit_code` is then what the command returns.
std::unique_ptr<dns::BlockingResolver> open_resolver(const ResolverArgument& argument,
                                                     int& exit_code);

}  // namespace mxring::cli
