#include "tests/sim/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>

namespace mxring::sim {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::string_view domain_of(std::string_view address) {
  const std::size_t at = address.rfind('@');
  return at == std::string_view::npos ? std::string_view() : address.substr(at + 1);
}

// "joe@example.org", "@example.org", "@.example.org".
bool matches(const std::string& pattern, const std::string& address) {
  if (pattern.starts_with("@.")) return domain_of(address).ends_with(pattern.substr(1));
  if (pattern.starts_with("@")) return domain_of(address) == pattern.substr(1);
  return pattern == address;
}

// 192.0.2.0/24 by its text: networks of lives end between octets.
bool is_in(std::string_view network, std::string_view ip) {
  const std::size_t slash = network.find('/');
  if (slash == std::string_view::npos) return network == ip;
  std::string_view stem = network.substr(0, network.find_last_not_of("0", slash - 1) + 1);
  if (stem.ends_with("::")) stem.remove_suffix(1);
  return ip.starts_with(stem);
}

int last_number(std::string_view ip) {
  const std::size_t dot = ip.rfind('.');
  if (dot == std::string_view::npos) return -1;
  return std::stoi(std::string(ip.substr(dot + 1)));
}

constexpr std::string_view kSelf = "127.0.0.1";

}  // namespace

PolicyText PolicyText::draw(Dice& dice) {
  PolicyText text;
  if (dice.permille(700)) text.domains = {"mx.test"};
  if (dice.permille(700)) {
    text.has_recipients = true;
    if (text.domains.empty() || dice.permille(800)) text.recipients.emplace_back("@mx.test");
    if (dice.permille(700)) text.recipients.emplace_back("known@users.test");
    if (dice.permille(300)) text.recipients.emplace_back("second+exact@users.test");
    if (dice.permille(500)) text.recipients.emplace_back("@.wide.test");
  }
  const std::vector<Rule> rules{
      {"deny", "client", "192.0.2.5", "not you"},
      {"tempfail", "client", "192.0.2.9", ""},
      {"allow", "client", "192.0.2.0/24", ""},
      {"deny", "client", "2001:db8::/32", ""},
      {"deny", "helo", "bad.client.example", "a bad name"},
      {"tempfail", "sender", "@none.example", "later"},
      {"deny", "sender", "@.example", ""},
      {"deny", "recipient", "denied@mx.test", "nobody writes there"},
      {"tempfail", "recipient", "later@mx.test", ""},
      {"allow", "recipient", "@users.test", ""},
  };
  for (const Rule& rule : rules) {
    if (dice.permille(rule.what.starts_with("@") || rule.what.contains('/') ? 60 : 300)) {
      text.rules.push_back(rule);
    }
  }
  for (std::size_t i = text.rules.size(); i > 1; --i) {
    std::swap(text.rules[i - 1], text.rules[dice.below(i)]);
  }
  return text;
}

std::string PolicyText::recipients_file() const {
  std::string out = "# who is received for\r\n\n";
  for (const std::string& line : recipients) out += line + " # as written\n";
  return out;
}

std::string PolicyText::access_file() const {
  std::string out = "# the first that matches wins\n";
  for (const Rule& rule : rules) {
    out += fmt::format("{} {}  {} {}\n", rule.action, rule.kind, rule.what, rule.text);
  }
  return out;
}

PolicyText::Ruling PolicyText::access(const Asker& asker, std::string_view recipient) const {
  const std::string to = lower(recipient);
  const std::string from = lower(asker.sender);
  const bool postmaster = to == "postmaster" || to.starts_with("postmaster@");
  for (const Rule& rule : rules) {
    bool hit = false;
    if (rule.kind == "client") hit = is_in(rule.what, asker.ip);
    if (rule.kind == "helo") hit = rule.what == lower(asker.helo);
    if (rule.kind == "sender") hit = matches(rule.what, from);
    if (rule.kind == "recipient") hit = matches(rule.what, to);
    if (!hit) continue;
    if (rule.action == "deny") return {"554 5.7.1", false};
    if (rule.action == "tempfail") return {"450 4.7.1", false};
    return {"", false};
  }
  return {"", !postmaster};
}

std::string PolicyText::served(std::string_view recipient) const {
  const std::string good = "250 2.1.5";
  if (domains.empty() && !has_recipients) return good;
  const std::string to = lower(recipient);
  if (to == "postmaster") return good;
  const std::string_view domain = domain_of(to);
  bool ours = std::ranges::find(domains, domain) != domains.end();
  bool known = !has_recipients && ours;
  const std::string local = to.substr(0, to.find('@'));
  const std::string plain = local.substr(0, local.find('+')) + "@" + std::string(domain);
  for (const std::string& line : recipients) {
    const bool below = line.starts_with("@.");
    ours |= below ? domain.ends_with(line.substr(1)) : domain_of(line) == domain;
    known |= matches(line, to) || matches(line, plain);
  }
  if (!ours) return "550 5.7.1";
  return known || local == "postmaster" ? good : "550 5.1.1";
}

bool ListZone::lists(std::string_view ip) const {
  if (ip == kSelf) return false;
  if (kind != Kind::kNames && kind != Kind::kNamesPart) return false;
  const int number = last_number(ip);
  return number >= 0 && number % 4 == 1 && (kind == Kind::kNames || number % 8 == 1);
}

void PolicyBook::draw(server::Config& config, SimResolver& resolver) {
  active_ = dice_.permille(450);
  if (!active_) {
    states_.push_back({{}, 0, -1});
    return;
  }
  states_.push_back({PolicyText::draw(dice_), 0, -1});
  base::Limits& limits = config.limits;
  if (dice_.permille(250)) {
    limits.messages_per_minute = static_cast<std::uint32_t>(dice_.between(1, 6));
  }
  if (dice_.permille(250)) {
    limits.recipients_per_minute = static_cast<std::uint32_t>(dice_.between(2, 12));
  }
  using Kind = ListZone::Kind;
  const std::uint64_t lists = dice_.permille(500) ? 1 + dice_.below(3) : 0;
  for (std::uint64_t i = 0; i < lists; ++i) {
    const Kind kind = dice_.pick({Kind::kNames, Kind::kNames, Kind::kNamesPart, Kind::kWorld,
                                  Kind::kRefuses, Kind::kSold, Kind::kSilent});
    lists_.push_back({kind, fmt::format("list{}.test", i)});
    config.access.dnsbl.push_back(lists_.back().entry());
    const ListZone list = lists_.back();
    resolver.add_zone(list.zone, [list](std::string_view reversed) -> std::string {
      int a = 0, b = 0, c = 0, d = 0;
      const bool v4 = std::ranges::count(reversed, '.') == 3;
      std::string ip = "of the other family";
      if (v4 && std::sscanf(std::string(reversed).c_str(), "%d.%d.%d.%d", &d, &c, &b, &a) == 4) {
        ip = fmt::format("{}.{}.{}.{}", a, b, c, d);
      }
      switch (list.kind) {
        case Kind::kNames:
          return list.lists(ip) ? std::string("\x7F\0\0\2", 4) : std::string();
        case Kind::kNamesPart:
          if (ip == kSelf || !v4 || d % 4 != 1) return {};
          return list.lists(ip) ? std::string("\x7F\0\0\3", 4) : std::string("\x7F\0\0\4", 4);
        case Kind::kWorld:
          return {"\x7F\0\0\2", 4};
        case Kind::kRefuses:
          return ip == kSelf ? std::string() : std::string("\x7F\xFF\xFF\xFE", 4);
        case Kind::kSold:
          return {"\xC0\0\2\x50", 4};
        case Kind::kSilent:
          return "silent";
      }
      return {};
    });
  }
}

void PolicyBook::write_anew() {
  State next{PolicyText::draw(dice_), world_.now(), -1};
  next.text.domains = states_.front().text.domains;  // those are the configuration's
  states_.push_back(std::move(next));
}

void PolicyBook::took_force() {
  // Each shard takes it over in a turn of its own.
  states_[states_.size() - 2].ends = world_.now() + kSecond;
}

void PolicyBook::begin_anew() {
  for (std::size_t i = 0; i + 1 < states_.size(); ++i) {
    if (states_[i].ends < 0) states_[i].ends = world_.now();
  }
}

std::vector<std::size_t> PolicyBook::in_force(Ns from, Ns until) const {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    const State& state = states_[i];
    if (state.begins <= until && (state.ends < 0 || state.ends >= from)) all.push_back(i);
  }
  return all;
}

std::set<std::string> PolicyBook::answers(const std::vector<std::size_t>& states,
                                          const Asker& asker, std::string_view recipient,
                                          bool dns_fails) const {
  std::set<std::string> all;
  const bool listed =
      std::ranges::any_of(lists_, [&](const ListZone& list) { return list.lists(asker.ip); });
  // That a list names the world is known only to who is told.
  const bool world = std::ranges::any_of(
      lists_, [](const ListZone& list) { return list.kind == ListZone::Kind::kWorld; });
  for (const std::size_t i : states) {
    const PolicyText& text = states_[i].text;
    const PolicyText::Ruling ruling = text.access(asker, recipient);
    if (!ruling.refusal.empty()) {
      all.insert(ruling.refusal);
      continue;
    }
    if (ruling.lists_count && (listed || (dns_fails && world))) all.insert("554 5.7.1");
    if (!ruling.lists_count || !listed || dns_fails) all.insert(text.served(recipient));
  }
  return all;
}

std::string PolicyBook::draw_recipient(Dice& dice, std::size_t mail, std::uint64_t i) const {
  if (!active_ || dice.permille(650)) return fmt::format("r{}-{}@mx.test", mail, i);
  return dice.pick<std::string>({"known@users.test", "known+tag@users.test", "KNOWN@users.test",
                                 "second+exact@users.test", "second@users.test",
                                 fmt::format("guess{}@users.test", i), "a@sub.wide.test",
                                 "a@wide.test", "a@elsewhere.example", "postmaster",
                                 "Postmaster@users.test", "denied@mx.test", "later@mx.test"});
}

std::string PolicyBook::describe() const {
  const PolicyText& text = written();
  std::string out =
      fmt::format("domains {}; {}; recipients {}; rules", fmt::join(text.domains, " "),
                  text.has_recipients ? "file" : "no file", fmt::join(text.recipients, " "));
  for (const PolicyText::Rule& rule : text.rules) {
    out += fmt::format(" [{} {} {}]", rule.action, rule.kind, rule.what);
  }
  for (const ListZone& list : lists_) {
    out += fmt::format("; {} of kind {}", list.zone, static_cast<int>(list.kind));
  }
  return out;
}

bool RateBook::taken(const Who& who, bool recipient, Ns sent_at, Ns heard_at, std::uint32_t limit) {
  Count& count = counts_[{who, recipient}];
  count.taken.emplace_back(sent_at, heard_at);
  if (limit == 0) return true;
  const auto within = std::ranges::count_if(count.taken, [&](const auto& each) {
    return each.first >= heard_at - 60 * kSecond && each.second <= heard_at;
  });
  return static_cast<std::uint64_t>(within) <= 2ULL * limit;
}

bool RateBook::may_be_too_many(const Who& who, bool recipient, std::uint32_t limit) const {
  if (limit == 0) return false;
  const auto found = counts_.find({who, recipient});
  return found != counts_.end() && found->second.sent > limit;
}

}  // namespace mxring::sim
