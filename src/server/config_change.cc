// A configuration is mixed key by key as text, in the form in which every key is shown and read
// back: so a new key takes part without a line here, and stays as it was unless it is named below.
#include "server/config_change.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/assert.h"

namespace mxring::server {

namespace {

// Sections and keys whose values are looked at for each connection, message or file.
constexpr std::array<std::string_view, 10> kLive{
    "limits.", "recipients.",      "access.",  "syntax.",      "tls.certificate",
    "tls.key", "tls.certificates", "auth.on_", "listen.proxy", "listen.xclient"};
// What memory, tables, rings and the log were made for at the start, and the bounds of checks.
constexpr std::array<std::string_view, 19> kFixed{"limits.connections",
                                                  "limits.memory",
                                                  "limits.memory_wait",
                                                  "limits.message_size",
                                                  "limits.header_size",
                                                  "limits.header_fields",
                                                  "limits.disk_reserve_percent",
                                                  "limits.disk_reserve_segments",
                                                  "limits.dns_cache",
                                                  "limits.dns_outstanding",
                                                  "limits.dns_outstanding_per_ip",
                                                  "limits.dns_questions",
                                                  "limits.dns_time",
                                                  "limits.dkim_signatures",
                                                  "limits.rsa_bits_min",
                                                  "limits.rsa_bits_max",
                                                  "limits.spf_lookups",
                                                  "limits.spf_voids",
                                                  "syntax.from_line"};

}  // namespace

bool changes_while_running(std::string_view path) {
  if (std::ranges::find(kFixed, path) != kFixed.end()) return false;
  return std::ranges::any_of(kLive, [&](std::string_view live) {
    const bool whole_section = live.ends_with('.') || live.ends_with('_');
    return whole_section ? path.starts_with(live) : path == live;
  });
}

std::expected<ConfigChange, ConfigError> change_config(const Config& running, const Config& fresh) {
  const std::vector<ShownKey> before = shown_keys(running);
  const std::vector<ShownKey> after = shown_keys(fresh);
  MXRING_ASSERT(before.size() == after.size());
  ConfigChange change;
  std::string text;
  std::string_view section;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const std::string path = before[i].path();
    // Where nothing asked DNS there is nobody to ask it.
    const bool live = changes_while_running(path) && (path != "access.dnsbl" || asks_dns(running));
    if (before[i].value != after[i].value) (live ? change.changed : change.kept).push_back(path);
    if (before[i].section != section) {
      section = before[i].section;
      text += fmt::format("[{}]\n", section);
    }
    text += fmt::format("{} = {}\n", before[i].name, live ? after[i].value : before[i].value);
  }
  auto mixed = parse_config(text, "reload");
  // Each was valid, and keys that stand in a relation to each other may be of both kinds.
  if (!mixed) {
    ConfigError error = std::move(mixed).error();
    error.message = fmt::format("with what cannot change while running ({}): {}",
                                fmt::join(change.kept, ", "), error.message);
    return std::unexpected(std::move(error));
  }
  change.config = *std::move(mixed);
  change.config.set_at = fresh.set_at;
  change.config.file = running.file;
  return change;
}

}  // namespace mxring::server
