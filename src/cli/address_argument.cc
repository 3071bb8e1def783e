#include "cli/address_argument.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>

#include "base/ip_address.h"
#include "server/config.h"

namespace mxring::cli {

void check_addresses(CLI::App& serve) {
  const auto listener = [](const std::string& text) {
    if (base::Endpoint::parse(text)) return std::string();
    return fmt::format("{}: {}", text, base::Endpoint::advice(text));
  };
  const auto resolver = [](const std::string& text) {
    if (server::parse_resolver(text)) return std::string();
    return fmt::format("{}: not an address; write 192.0.2.53 or 192.0.2.53:5353", text);
  };
  const auto off_or_listener = [listener](const std::string& text) {
    return text.empty() ? std::string() : listener(text);
  };
  serve.get_option("--smtp")->check(listener);
  serve.get_option("--smtps")->check(listener);
  serve.get_option("--admin")->check(off_or_listener);
  serve.get_option("--resolver")->check(resolver);
}

}  // namespace mxring::cli
