#include "server/access.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/ip_network.h"
#include "base/text.h"
#include "server/address_key.h"
#include "smtp/path.h"

namespace mxring::server {

namespace {

// The null reverse-path among the senders.
constexpr std::string_view kNullSender = "<>";

std::string_view next_word(std::string_view& rest) {
  const std::size_t begin = std::min(rest.find_first_not_of(" \t"), rest.size());
  rest.remove_prefix(begin);
  const std::size_t end = std::min(rest.find_first_of(" \t"), rest.size());
  const std::string_view word = rest.substr(0, end);
  rest.remove_prefix(end);
  return word;
}

std::optional<AccessAction> parse_action(std::string_view word) {
  if (base::ascii_iequals(word, "allow")) return AccessAction::kAllow;
  if (base::ascii_iequals(word, "deny")) return AccessAction::kDeny;
  if (base::ascii_iequals(word, "tempfail")) return AccessAction::kTempfail;
  return std::nullopt;
}

bool is_domain_key(std::string_view domain) {
  return smtp::is_domain(domain) || smtp::is_address_literal(domain);
}

// The address without the bits after its first `length`, with the length before it.
std::string_view cut(const base::IpAddress& address, unsigned length, std::array<char, 17>& out) {
  const std::size_t bytes = address.is_v4() ? 4 : 16;
  out[0] = static_cast<char>(length);
  for (std::size_t i = 0; i < bytes; ++i) {
    const unsigned bits = static_cast<unsigned>(
        std::clamp<int>(static_cast<int>(length) - static_cast<int>(i) * 8, 0, 8));
    const auto mask = static_cast<std::uint8_t>(0xFF00 >> bits);
    out[i + 1] = static_cast<char>(address.bytes()[i] & mask);
  }
  return {out.data(), bytes + 1};
}

}  // namespace

Access::RuleIndex Access::look_up(const Table& table, std::string_view key) {
  if (table.empty()) return kNone;
  const auto found = table.find(key);
  return found == table.end() ? kNone : found->second;
}

std::expected<void, std::string> Access::add_network(std::string_view pattern) {
  const auto network = base::IpNetwork::parse(pattern);
  if (!network) return std::unexpected(network.error());
  std::array<char, 17> cut_off{};
  const std::string_view prefix = cut(network->address, network->length, cut_off);
  Networks& networks = networks_[network->address.is_v4() ? 0 : 1];
  if (std::ranges::find(networks.lengths, network->length) == networks.lengths.end()) {
    networks.lengths.push_back(network->length);
  }
  networks.by_prefix.try_emplace(std::string(prefix), static_cast<RuleIndex>(rules_.size()));
  return {};
}

std::expected<void, std::string> Access::add_name(Names& names, std::string_view pattern,
                                                  bool addresses) {
  const auto index = static_cast<RuleIndex>(rules_.size());
  const auto no_good = [&] {
    return std::unexpected(
        fmt::format("\"{}\" is no {}", base::escaped(pattern.substr(0, 80)),
                    addresses ? "address, @domain or @.domain" : "name, @domain or @.domain"));
  };
  if (pattern.starts_with('@')) {
    const bool below = pattern.starts_with("@.");
    AddressKey key;
    const bool good_key = key.set_domain(pattern.substr(below ? 2 : 1));
    if (!good_key || !is_domain_key(key.domain())) return no_good();
    (below ? names.below : names.domain).try_emplace(std::string(key.domain()), index);
    return {};
  }
  if (!addresses) {
    AddressKey key;
    const bool good_key = key.set_domain(pattern);
    names.whole.try_emplace(good_key ? std::string(key.domain()) : std::string(pattern), index);
    return {};
  }
  AddressKey key;
  const bool good_key = key.set(pattern);
  if (!good_key || !is_written_well(pattern) ||
      (key.domain().empty() ? key.local() != "postmaster" : !is_domain_key(key.domain()))) {
    return no_good();
  }
  names.whole.try_emplace(std::string(key.whole()), index);
  return {};
}

std::expected<void, std::string> Access::add_pattern(std::string_view kind,
                                                     std::string_view pattern) {
  if (pattern.empty()) {
    return std::unexpected(
        std::string("a rule is: allow|deny|tempfail client|helo|sender|recipient "
                    "WHAT [text]"));
  }
  if (base::ascii_iequals(kind, "client")) return add_network(pattern);
  if (base::ascii_iequals(kind, "helo")) return add_name(helo_, pattern, false);
  if (base::ascii_iequals(kind, "recipient")) return add_name(recipient_, pattern, true);
  if (!base::ascii_iequals(kind, "sender")) {
    return std::unexpected(fmt::format("\"{}\" is not client, helo, sender or recipient",
                                       base::escaped(kind.substr(0, 40))));
  }
  if (pattern == kNullSender) {
    sender_.whole.try_emplace(std::string(kNullSender), static_cast<RuleIndex>(rules_.size()));
    return {};
  }
  return add_name(sender_, pattern, true);
}

std::expected<void, std::string> Access::add_rule(std::string_view line) {
  std::string_view rest = line;
  const std::string_view word = next_word(rest);
  const auto action = parse_action(word);
  if (!action) {
    return std::unexpected(
        fmt::format("\"{}\" is not allow, deny or tempfail", base::escaped(word.substr(0, 40))));
  }
  if (rules_.size() == kRulesMax) {
    return std::unexpected(fmt::format("there are more than {} rules", kRulesMax));
  }
  const std::string_view kind = next_word(rest);
  const std::string_view pattern = next_word(rest);
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  const bool printable = std::ranges::all_of(rest, [](char c) { return c >= ' ' && c <= '~'; });
  if (!printable || rest.size() > kTextBytesMax) {
    return std::unexpected(
        fmt::format("the text is to be printable ASCII, {} characters at most", kTextBytesMax));
  }
  if (!rest.empty() && *action == AccessAction::kAllow) {
    return std::unexpected(std::string("nobody is told the text of an allow; make it a comment"));
  }
  if (auto added = add_pattern(kind, pattern); !added) return added;
  rules_.push_back({.action = *action,
                    .line = static_cast<std::uint32_t>(lines_),
                    .text_at = static_cast<std::uint32_t>(texts_.size()),
                    .text_bytes = static_cast<std::uint16_t>(rest.size())});
  texts_.append(rest);
  return {};
}

std::expected<void, FileError> Access::add_line(std::string_view line) {
  ++lines_;
  if (line.size() > kLineBytesMax)
    return std::unexpected(FileError{lines_, "the line is too long"});
  line = without_comment(line);
  if (line.empty()) return {};
  if (auto added = add_rule(line); !added) {
    return std::unexpected(FileError{lines_, std::move(added.error())});
  }
  return {};
}

std::expected<void, FileError> Access::read(const std::string& path) {
  if (path.empty()) return {};
  return for_each_line(path, kLineBytesMax,
                       [this](std::string_view line) { return add_line(line); });
}

Access::RuleIndex Access::find_network(const base::IpAddress& address) const {
  const Networks& networks = networks_[address.is_v4() ? 0 : 1];
  RuleIndex first = kNone;
  std::array<char, 17> prefix{};
  for (const std::uint8_t length : networks.lengths) {
    first = std::min(first, look_up(networks.by_prefix, cut(address, length, prefix)));
  }
  return first;
}

Access::RuleIndex Access::find_domain(const Names& names, std::string_view domain) {
  RuleIndex first = look_up(names.domain, domain);
  if (names.below.empty()) return first;
  any_parent(domain, [&](std::string_view parent) {
    first = std::min(first, look_up(names.below, parent));
    return false;
  });
  return first;
}

Access::RuleIndex Access::find_address(const Names& names, std::string_view mailbox) {
  if (names.whole.empty() && names.domain.empty() && names.below.empty()) return kNone;
  AddressKey key;
  const bool good_key = key.set(mailbox);
  if (!good_key) return kNone;
  return std::min(look_up(names.whole, key.whole()), find_domain(names, key.domain()));
}

const Access::Rule* Access::find(const AccessQuestion& question) const {
  if (rules_.empty()) return nullptr;
  RuleIndex first = find_network(question.client);
  if (!helo_.whole.empty() || !helo_.domain.empty() || !helo_.below.empty()) {
    AddressKey helo;
    const bool good_helo = helo.set_domain(question.helo);
    const std::string_view name = good_helo ? helo.domain() : question.helo;
    first = std::min({first, look_up(helo_.whole, name), find_domain(helo_, name)});
  }
  first = std::min(first, question.sender.empty() ? look_up(sender_.whole, kNullSender)
                                                  : find_address(sender_, question.sender));
  first = std::min(first, find_address(recipient_, question.recipient));
  return first == kNone ? nullptr : &rules_[first];
}

std::size_t Access::memory_bytes() const {
  std::size_t bytes = rules_.capacity() * sizeof(Rule) + texts_.capacity();
  const auto add = [&bytes](const Table& table) {
    // A node has its string inside or beside it, the hash and a link; a bucket is a pointer.
    constexpr std::size_t kNodeBytes = sizeof(std::string) + 4 * sizeof(void*);
    bytes += table.size() * kNodeBytes + table.bucket_count() * sizeof(void*);
  };
  for (const Networks& networks : networks_) add(networks.by_prefix);
  for (const Names* names : {&helo_, &sender_, &recipient_}) {
    add(names->whole);
    add(names->domain);
    add(names->below);
  }
  return bytes;
}

}  // namespace mxring::server
