// The relations between keys, each with the keys it is about, so that one that could not be read
// does not make others look wrong.
#include "server/config_rules.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/text.h"
#include "base/units.h"
#include "server/buffer_plan.h"

namespace mxring::server {

bool is_domain(std::string_view text) {
  if (text.empty() || text.size() > 255) return false;
  std::size_t label = 0;
  char last = '.';
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || static_cast<unsigned char>(c) >= 0x80;
    if (c == '.') {
      if (label == 0 || last == '-') return false;
      label = 0;
    } else {
      if (!plain || (label == 0 && c == '-') || ++label > 63) return false;
    }
    last = c;
  }
  return label > 0 && last != '-';
}

bool is_admin_address(std::string_view text) {
  constexpr std::string_view kUnix = "unix:";
  return text.starts_with(kUnix) ? text.size() > kUnix.size()
                                 : base::Endpoint::parse(text).has_value();
}

namespace {

using Rules = std::vector<ConfigRule>;

std::uint32_t cores_online() {
  return static_cast<std::uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

// Names that mean this machine wherever they are read, and so nobody in a banner or a trace field.
bool names_nobody(std::string_view hostname) {
  std::string name;
  for (const char c : hostname) name += base::ascii_lower(c);
  return name == "localhost" || name.ends_with(".localhost") || name.ends_with(".localdomain") ||
         base::IpAddress::parse(name).has_value();
}

// Of each relation the keys that it is about: its own, and the limits that its words name.
const std::vector<std::vector<std::string>>& relation_keys() {
  static const std::vector<std::vector<std::string>> all = [] {
    const std::vector<ShownKey> shown = shown_keys(default_config());
    std::vector<std::vector<std::string>> keys;
    for (const base::LimitRelation& relation : base::kLimitRelations) {
      std::vector<std::string>& of = keys.emplace_back();
      of.push_back(fmt::format("limits.{}", relation.key));
      for (const ShownKey& key : shown) {
        const std::size_t at = relation.words.find(key.name);
        if (key.section != "limits" || at == std::string_view::npos) continue;
        // A word, and no part of one.
        const std::string_view after = relation.words.substr(at + key.name.size());
        const bool ends = after.empty() || after.front() == ' ';
        if (ends && relation.words[at - 1] == ' ') of.push_back(key.path());
      }
    }
    return keys;
  }();
  return all;
}

// base/limits.h has them, but for the one that takes more than limits to see.
Rules limit_rules(const Config& config) {
  const base::Limits& l = config.limits;
  Rules rules;
  for (std::size_t i = 0; i < base::kLimitRelations.size(); ++i) {
    const base::LimitRelation& relation = base::kLimitRelations[i];
    const std::vector<std::string>& keys = relation_keys()[i];
    rules.push_back({relation.holds(l), {keys.begin(), keys.end()}, std::string(relation.words)});
  }
  rules.push_back(
      {l.message_bytes * 2 > l.memory_bytes || holds_a_message(config),
       {"limits.memory", "limits.message_size", "shards.buffer_bytes", "shards.buffers_offered"},
       fmt::format(
           "cannot hold one message of message_size: cut into receive buffers "
           "(shards.buffer_bytes), {} of it are for messages, and a connection needs 256KiB",
           base::format_bytes(plan_buffers(config).message_bytes()))});
  return rules;
}

// A size that a ring or its buffers want as a power of two.
ConfigRule power_of_two(std::uint32_t value, std::string_view key) {
  return {std::has_single_bit(value), {key}, "must be a power of two"};
}

struct Listening {
  std::string_view key;
  base::Endpoint endpoint;
};

// Two sockets cannot both have a port of an address, nor one of it and the other of all of its
// family.
bool collide(const base::Endpoint& a, const base::Endpoint& b) {
  if (a.port == 0 || a.port != b.port || a.address.is_v4() != b.address.is_v4()) return false;
  return a.address == b.address || a.address.is_any() || b.address.is_any();
}

Rules listen_rules(const Config::Listen& listen) {
  std::vector<Listening> all;
  for (const base::Endpoint& endpoint : listen.smtp) all.push_back({"listen.smtp", endpoint});
  for (const base::Endpoint& endpoint : listen.smtps) all.push_back({"listen.smtps", endpoint});
  if (const auto admin = base::Endpoint::parse(listen.admin))
    all.push_back({"listen.admin", *admin});
  Rules rules;
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const auto& [key, endpoint] = all[i];
      const auto& [other_key, other] = all[j];
      const bool same = endpoint.address == other.address;
      const std::string names = endpoint.to_string();
      rules.push_back({!collide(endpoint, other),
                       {key, other_key},
                       key == other_key && same ? fmt::format("names {} twice", names)
                       : same ? fmt::format("names {}, as {} does", names, other_key)
                              : fmt::format("names {}, which collides with {} of {}", names,
                                            other.to_string(), other_key)});
    }
  }
  return rules;
}

Rules shard_rules(const Config::Shards& shards) {
  return {
      {shards.count <= cores_online(),
       {"shards.count"},
       fmt::format("is {}, but this machine has {} cores; 0 chooses for you", shards.count,
                   cores_online())},
      power_of_two(shards.buffer_bytes, "shards.buffer_bytes"),
      power_of_two(shards.buffers_offered, "shards.buffers_offered"),
      power_of_two(shards.submission_entries, "shards.submission_entries"),
      power_of_two(shards.completion_entries, "shards.completion_entries"),
      {shards.completion_entries > shards.submission_entries,
       {"shards.completion_entries", "shards.submission_entries"},
       "must be larger than submission_entries"},
  };
}

}  // namespace

Rules config_rules(const Config& config) {
  // Beside the message a record carries its envelope: 1,000 paths and more fit in this.
  constexpr std::uint64_t kRecordExtraBytes = base::kMiB;
  const Config::Listen& listen = config.listen;
  Rules all{
      {config.hostname.empty() || is_domain(config.hostname),
       {"hostname"},
       "must be a host name such as \"mx.example.org\""},
      {!names_nobody(config.hostname),
       {"hostname"},
       fmt::format("must be this host's name in DNS, such as \"mx.example.org\": \"{}\" names no "
                   "host to others",
                   base::escaped(config.hostname))},
      {!listen.smtp.empty() || !listen.smtps.empty(),
       {"listen.smtp", "listen.smtps"},
       "names no address: nothing to listen on; try [\"127.0.0.1:2525\"]"},
      {listen.admin.empty() || is_admin_address(listen.admin),
       {"listen.admin"},
       "must be ADDRESS:PORT, unix:PATH, or \"\" for none"},
      {!config.log.dir.empty(), {"log.dir"}, "must name a directory"},
      {config.log.segment_bytes >= config.limits.message_bytes + kRecordExtraBytes,
       {"log.segment_bytes", "limits.message_size"},
       fmt::format("must hold a whole message: at least message_size + 1MiB, {} now",
                   base::format_bytes(config.limits.message_bytes + kRecordExtraBytes))},
      {config.tls.certificate.empty() == config.tls.key.empty(),
       {"tls.certificate", "tls.key"},
       "and tls.key belong together: set both or neither"},
  };
  std::ranges::move(listen_rules(listen), std::back_inserter(all));
  std::ranges::move(shard_rules(config.shards), std::back_inserter(all));
  std::ranges::move(limit_rules(config), std::back_inserter(all));
  return all;
}

std::string place_of(const Config& config, std::string_view key) {
  const auto at = config.set_at.find(std::string(key));
  return at == config.set_at.end() ? std::string() : at->second + ": ";
}

std::expected<void, ConfigError> validate(const ConfigDraft& draft) {
  std::vector<std::string> lines;
  for (const ConfigMistake& mistake : draft.mistakes) lines.push_back(mistake.text);
  const auto unread = [&](std::string_view key) {
    return std::ranges::any_of(draft.mistakes, [&](const ConfigMistake& mistake) {
      return mistake.key == key || (!mistake.key.empty() && key.starts_with(mistake.key + '.'));
    });
  };
  for (const ConfigRule& rule : config_rules(draft.config)) {
    if (rule.holds || !draft.read || std::ranges::any_of(rule.keys, unread)) continue;
    lines.push_back(fmt::format("{}{} {}", place_of(draft.config, rule.keys.front()),
                                rule.keys.front(), rule.message));
  }
  if (lines.empty()) return {};
  return std::unexpected(ConfigError{fmt::format("{}", fmt::join(lines, "\n"))});
}

std::expected<void, ConfigError> validate(const Config& config) {
  return validate(ConfigDraft{config, {}});
}

}  // namespace mxring::server
