// Access rules: `access.file`, one a line, the first that matches wins.
//
//   allow|deny|tempfail  client     192.0.2.0/24 | 2001:db8::/32 | 192.0.2.7     [text]
//                        helo       host.example | @example.org | @.example.org
//                        sender     joe@example.org | @example.org | @.example.org | <>
//                        recipient  joe@example.org | @example.org | @.example.org
//
// The text is what the client is told; nothing else of a line is. Rules are looked up, not walked
// through: a hundred thousand networks cost as many probes as they have lengths of prefix.
//
// Made by one thread, then immutable: find() is for any number of threads and allocates nothing for
// names in ASCII.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ip_address.h"
#include "base/keyed_hash.h"
#include "server/line_file.h"

namespace mxring::server {

enum class AccessAction : std::uint8_t { kAllow, kDeny, kTempfail };

struct AccessQuestion {
  base::IpAddress client;
  std::string_view helo;       // as given
  std::string_view sender;     // empty: the null reverse-path
  std::string_view recipient;  // local@domain, or "postmaster"
};

class Access {
 public:
  static constexpr std::size_t kLineBytesMax = 2048;
  static constexpr std::size_t kTextBytesMax = 400;
  static constexpr std::size_t kRulesMax = 5'000'000;

  struct Rule {
    AccessAction action = AccessAction::kAllow;
    std::uint32_t line = 0;
    std::uint32_t text_at = 0;  // in the object's texts
    std::uint16_t text_bytes = 0;
  };

  std::expected<void, FileError> add_line(std::string_view line);
  // Reads a whole file. `path` empty: there is none.
  std::expected<void, FileError> read(const std::string& path);

  // The rule that decides, or nothing.
  const Rule* find(const AccessQuestion& question) const;
  std::string_view text(const Rule& rule) const {
    return std::string_view(texts_).substr(rule.text_at, rule.text_bytes);
  }

  bool empty() const { return rules_.empty(); }
  std::size_t rules() const { return rules_.size(); }
  std::size_t memory_bytes() const;

 private:
  using RuleIndex = std::uint32_t;
  static constexpr RuleIndex kNone = std::numeric_limits<RuleIndex>::max();

  using Table = std::unordered_map<std::string, RuleIndex, base::StringHash, std::equal_to<>>;
  // Names of one kind (HELO names, senders, recipients).
  struct Names {
    Table whole;   // address or host name
    Table domain;  // "@example.org"
    Table below;   // "@.example.org"
  };
  // Networks of one family, by length of prefix; only lengths that occur are looked at.
  struct Networks {
    std::vector<std::uint8_t> lengths;
    Table by_prefix;  // the length, then the address cut to it
  };

  std::expected<void, std::string> add_rule(std::string_view line);
  std::expected<void, std::string> add_pattern(std::string_view kind, std::string_view pattern);
  std::expected<void, std::string> add_network(std::string_view pattern);
  std::expected<void, std::string> add_name(Names& names, std::string_view pattern, bool addresses);
  RuleIndex find_network(const base::IpAddress& address) const;
  static RuleIndex find_domain(const Names& names, std::string_view domain);
  static RuleIndex find_address(const Names& names, std::string_view mailbox);
  static RuleIndex look_up(const Table& table, std::string_view key);

  std::vector<Rule> rules_;
  std::string texts_;
  std::array<Networks, 2> networks_;  // IPv4, IPv6
  Names helo_;
  Names sender_;
  Names recipient_;
  std::uint64_t lines_ = 0;
};

}  // namespace mxring::server
