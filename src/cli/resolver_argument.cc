#include "cli/resolver_argument.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <optional>
#include <sstream>

#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"

namespace mxring::cli {

namespace {

constexpr std::uint16_t kDnsPort = 53;

std::optional<base::Endpoint> parse_server(std::string_view text) {
  if (const auto address = base::IpAddress::parse(text)) return base::Endpoint{*address, kDnsPort};
  if (text.starts_with('[') && text.ends_with(']')) {
    const auto address = base::IpAddress::parse(text.substr(1, text.size() - 2));
    if (address) return base::Endpoint{*address, kDnsPort};
  }
  return base::Endpoint::parse(text);
}

}  // namespace

void add_resolver(CLI::App& command, ResolverArgument& argument) {
  command
      .add_option("--resolver", argument.servers,
                  "DNS server ADDR[:PORT] to ask instead of the system's; repeatable")
      ->allow_extra_args(false);
  command.add_option("--timeout", argument.timeout, "How long one question may take")
      ->capture_default_str();
}

std::string servers_asked(const ResolverArgument& argument) {
  std::vector<std::string> servers;
  for (const std::string& text : argument.servers) {
    if (const auto server = parse_server(text)) servers.push_back(server->to_string());
  }
  if (servers.empty()) {
    std::ifstream file("/etc/resolv.conf");
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string key;
      std::string text;
      words >> key >> text;
      const auto server = key == "nameserver" ? parse_server(text) : std::nullopt;
      if (server) servers.push_back(server->to_string());
    }
  }
  if (servers.empty()) return "the system's resolver";
  return fmt::format("{}", fmt::join(servers, " or "));
}

std::unique_ptr<dns::BlockingResolver> open_resolver(const ResolverArgument& argument,
                                                     int& exit_code) {
  dns::ClientOptions options;
  exit_code = kUsage;
  for (const std::string& server : argument.servers) {
    const auto endpoint = parse_server(server);
    if (!endpoint || endpoint->port == 0) {
      complain(fmt::format("--resolver {}: not an address, or not a port", base::escaped(server)));
      return nullptr;
    }
    options.servers.push_back(*endpoint);
  }
  if (const auto problem = base::duration_problem(argument.timeout); !problem.empty()) {
    complain(fmt::format("--timeout {}: {}", base::escaped(argument.timeout), problem));
    return nullptr;
  }
  options.timeout_ns = *base::parse_duration_ns(argument.timeout);
  auto resolver = dns::BlockingResolver::create(options);
  if (!resolver) {
    complain(fmt::format("cannot ask DNS: {}", resolver.error()));
    exit_code = kFailed;
    return nullptr;
  }
  exit_code = kDone;
  return std::move(*resolver);
}

}  // namespace mxring::cli
