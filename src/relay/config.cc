#include "relay/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <limits>

#include "base/json.h"
#include "base/moment.h"
#include "base/owned_fd.h"
#include "base/text.h"
#include "base/units.h"
#include "decode/token.h"
#include "relay/config_check.h"
#include "relay/files.h"
#include "seglog/cursor_file.h"

// Debian's shared library has only the throwing parser.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

namespace mxring::relay {

namespace {

struct Fault {
  toml::source_position at;
  std::string text;
};

// A value being read: false, with what it must be, when it is not.
using Read = std::string (*)(const toml::node&, Config&);  // "" or what it must be

struct Key {
  std::string_view section;  // "" = top level
  std::string_view name;
  std::string_view kind;
  std::string_view shown;  // its default, as TOML
  std::string_view meaning;
  Read read;
};

template <class T>
std::string take_text(const toml::node& node, T& out) {
  const auto* text = node.as_string();
  if (text == nullptr) return "a text";
  out = text->get();
  return out.find('\0') == std::string::npos ? "" : "a text without NUL";
}

std::string take_texts(const toml::node& node, std::vector<std::string>& out) {
  const toml::array* array = node.as_array();
  if (array == nullptr) return "an array of texts";
  out.clear();
  for (const toml::node& entry : *array) {
    const auto* text = entry.as_string();
    if (text == nullptr) return "an array of texts";
    out.push_back(text->get());
  }
  return "";
}

std::string take_tokens(const toml::node& node, std::vector<std::string>& out) {
  std::string problem = take_texts(node, out);
  for (const std::string& text : out) {
    const auto pattern = decode::TokenPattern::parse(text);
    if (problem.empty() && !pattern) problem = "an array of patterns: " + pattern.error();
  }
  return problem;
}

std::string take_flag(const toml::node& node, bool& out) {
  const auto* flag = node.as_boolean();
  if (flag == nullptr) return "true or false";
  out = flag->get();
  return "";
}

template <class T>
std::string take_count(const toml::node& node, T& out, std::int64_t least, std::int64_t most) {
  const auto* number = node.as_integer();
  const std::string wanted = fmt::format("a number from {} to {}", least, most);
  if (number == nullptr || number->get() < least || number->get() > most) return wanted;
  out = static_cast<T>(number->get());
  return "";
}

std::string take_bytes(const toml::node& node, std::uint64_t& out, std::uint64_t least) {
  const auto* text = node.as_string();
  const auto bytes = text == nullptr ? std::nullopt : base::parse_bytes(text->get());
  if (!bytes || *bytes > std::uint64_t{1} << 50) return "a size as \"64KiB\"";
  if (*bytes < least) return fmt::format("a size of {} or more", base::format_bytes(least));
  out = *bytes;
  return "";
}

std::string take_duration(const toml::node& node, std::int64_t& out, std::int64_t least) {
  const auto* text = node.as_string();
  if (text == nullptr) return "a duration as \"30s\"";
  const std::string problem = base::duration_problem(text->get(), least);
  if (!problem.empty()) return "a duration as \"30s\"; it is " + problem;
  out = *base::parse_duration_ns(text->get());
  return "";
}

template <class T, std::size_t N>
std::string take_choice(const toml::node& node, T& out,
                        const std::array<std::pair<std::string_view, T>, N>& choices) {
  const auto* text = node.as_string();
  std::string wanted;
  for (const auto& [name, value] : choices) {
    if (text != nullptr && text->get() == name) {
      out = value;
      return "";
    }
    wanted += fmt::format("{}\"{}\"", wanted.empty() ? "" : ", ", name);
  }
  std::string hint;
  if (text != nullptr) {
    std::vector<std::string_view> names;
    for (const auto& choice : choices) names.push_back(choice.first);
    const std::string_view near = base::nearest(text->get(), names);
    if (!near.empty()) hint = fmt::format("; did you mean \"{}\"?", near);
  }
  return "one of " + wanted + hint;
}

std::string take_words(const toml::node& node, std::vector<std::string>& out,
                       std::initializer_list<std::string_view> words) {
  std::string problem = take_texts(node, out);
  for (const std::string& given : out) {
    if (!problem.empty() || std::ranges::find(words, given) != words.end()) continue;
    const std::string_view near = base::nearest(given, words);
    problem = fmt::format("an array of {}", fmt::join(words, ", "));
    if (!near.empty()) problem += fmt::format("; did you mean \"{}\"?", near);
  }
  return problem;
}

constexpr std::array<std::pair<std::string_view, Payload>, 3> kPayloads{
    {{"full", Payload::kFull}, {"thin", Payload::kThin}, {"raw", Payload::kRaw}}};
constexpr std::array<std::pair<std::string_view, WebhookOrder>, 3> kOrders{
    {{"offset", WebhookOrder::kOffset},
     {"lane", WebhookOrder::kLane},
     {"none", WebhookOrder::kNone}}};
constexpr std::array<std::pair<std::string_view, bool>, 2> kForms{
    {{"delivered", true}, {"received", false}}};

constexpr std::int64_t kMs = base::kNsPerMs;

#define READ(expression) [](const toml::node& node, Config& c) -> std::string { return expression; }
// In the order in which they are documented and shown.
const Key kKeys[] = {
    {"", "group", "text", "\"\"", "The named reader this relay is; its place is kept in the log.",
     READ(take_text(node, c.group))},
    {"", "log", "text", "\"/var/lib/mxring/log\"", "The log's directory.",
     READ(take_text(node, c.log))},
    {"", "start", "text", "\"earliest\"",
     "Where a new group begins: earliest, latest, an offset, or a time.",
     READ(take_text(node, c.start))},
    {"", "hold", "flag", "true",
     "Retention keeps what a new group has not dealt with; later `mxring groups hold|release`.",
     READ(take_flag(node, c.hold))},
    {"", "admin", "text", "\"\"",
     "Where /metrics, /status and /healthz are served over HTTP: ADDR:PORT, or unix:PATH.",
     READ(take_text(node, c.admin))},
    {"", "dead_bytes", "size", "\"256MiB\"", "What dead letters may occupy; then the group stops.",
     READ(take_bytes(node, c.dead_bytes, 0))},
    {"", "dead_in_a_row", "number", "10",
     "So many dead letters in a row pause the group: it is the sink, not the mail; 0 = never.",
     READ(take_count(node, c.dead_in_a_row, 0, 1'000'000))},
    {"filter", "recipients", "texts", "[]",
     "Only mail with a recipient like one of these, \"*@tickets.example.org\"; LMTP is given no "
     "others. What does not match counts as done.",
     READ(take_texts(node, c.filter_recipients))},
    {"filter", "dispositions", "texts", "[]", "Only these: accept, quarantine.",
     READ(take_words(node, c.filter_dispositions, {"accept", "quarantine"}))},
    {"filter", "types", "texts", "[]",
     "Only these: mail, bounce, complaint, dmarc_report, tls_report, journal_report.",
     READ(take_words(
         node, c.filter_types,
         {"mail", "bounce", "complaint", "dmarc_report", "tls_report", "journal_report"}))},
    {"commit", "records", "number", "1000", "The place is written after so many records,",
     READ(take_count(node, c.commit_records, 1, 1'000'000))},
    {"commit", "bytes", "size", "\"8MiB\"", "or so many bytes of mail,",
     READ(take_bytes(node, c.commit_bytes, 1))},
    {"commit", "time", "duration", "\"200ms\"",
     "or so long after the first; five times a second at most.",
     READ(take_duration(node, c.commit_time_ns, kMs))},
    {"retry", "first", "duration", "\"1s\"",
     "The wait after a first failure; it doubles, give or take a fifth,",
     READ(take_duration(node, c.retry_first_ns, kMs))},
    {"retry", "max", "duration", "\"5m\"", "up to this.",
     READ(take_duration(node, c.retry_max_ns, kMs))},
    {"retry", "give_up_after", "duration", "\"0\"",
     "A record that fails for so long becomes a dead letter; 0 = never.",
     READ(take_duration(node, c.give_up_after_ns, 0))},
    {"decode", "bounce_tokens", "texts", "[]",
     "Where senders put what a bounce is found by: \"recipient: bounces+{}@example.org\", "
     "\"X-Campaign: {}\".",
     READ(take_tokens(node, c.bounce_tokens))},
    {"claim", "url", "text", "\"\"",
     "Where `mxring log serve` is reached by who gets events: bodies too large for one are named "
     "there.",
     READ(take_text(node, c.claim_url))},
    {"webhook", "url", "text", "\"\"", "Where events are posted.",
     READ(take_text(node, c.webhook.url))},
    {"webhook", "secret_file", "text", "\"\"",
     "Secrets, whsec_... one a line: each event is signed with every one of them.",
     READ(take_text(node, c.webhook.secret_file))},
    {"webhook", "basic_auth_file", "text", "\"\"", "USER:PASSWORD for HTTP basic authentication.",
     READ(take_text(node, c.webhook.basic_auth_file))},
    {"webhook", "ca_file", "text", "\"\"",
     "Who signs the server's certificate; \"\" = the system's.",
     READ(take_text(node, c.webhook.ca_file))},
    {"webhook", "allow_private", "flag", "false",
     "Connect to loopback, private and link-local addresses too.",
     READ(take_flag(node, c.webhook.allow_private))},
    {"webhook", "payload", "word", "\"full\"",
     "full = envelope, verdicts, facts and the message; thin = envelope and verdicts; raw = the "
     "message itself (message/rfc822).",
     READ(take_choice(node, c.webhook.payload, kPayloads))},
    {"webhook", "form", "word", "\"delivered\"",
     "The message with our trace fields on top (delivered), or exactly as received.",
     READ(take_choice(node, c.webhook.delivered, kForms))},
    {"webhook", "inline_bytes", "size", "\"512KiB\"",
     "Larger messages are not in the event, but named by a claim.",
     READ(take_bytes(node, c.webhook.inline_bytes, 0))},
    {"webhook", "order", "word", "\"offset\"",
     "offset = one at a time; lane = one at a time for each recipient; none.",
     READ(take_choice(node, c.webhook.order, kOrders))},
    {"webhook", "connections", "number", "8", "Attempts at a time, unless order is \"offset\".",
     READ(take_count(node, c.webhook.connections, 1, 256))},
    {"webhook", "timeout", "duration", "\"15s\"", "How long an answer may take.",
     READ(take_duration(node, c.webhook.timeout_ns, 10 * kMs))},
    {"lmtp", "address", "text", "\"\"", "HOST:PORT, or unix:PATH.",
     READ(take_text(node, c.lmtp.address))},
    {"lmtp", "recipients", "text", "\"as-received\"",
     "To the recipients of the envelope, or all mail to this one address.",
     READ(take_text(node, c.lmtp.recipients))},
    {"lmtp", "connections", "number", "1",
     "Deliveries at a time; with more than one, order is kept for each recipient.",
     READ(take_count(node, c.lmtp.connections, 1, 64))},
    {"lmtp", "timeout", "duration", "\"5m\"", "How long a reply may take.",
     READ(take_duration(node, c.lmtp.timeout_ns, 10 * kMs))},
    {"maildir", "path", "text", "\"\"", "The Maildir; made when it is not there.",
     READ(take_text(node, c.maildir.path))},
    {"nats", "servers", "texts", "[]", "nats://HOST:PORT or tls://HOST:PORT, several of a cluster.",
     READ(take_texts(node, c.nats.servers))},
    {"nats", "stream", "text", "\"\"", "The stream; it belongs to this log alone.",
     READ(take_text(node, c.nats.stream))},
    {"nats", "subject", "text", "\"\"", "What it is published under; \"\" = the stream's name.",
     READ(take_text(node, c.nats.subject))},
    {"nats", "payload", "word", "\"full\"", "As for a webhook.",
     READ(take_choice(node, c.nats.payload, kPayloads))},
    {"nats", "replicas", "number", "1", "Of a stream that is created.",
     READ(take_count(node, c.nats.replicas, 1, 5))},
    {"nats", "create", "flag", "true", "Create the stream when there is none.",
     READ(take_flag(node, c.nats.create))},
    {"nats", "bytes_in_flight", "size", "\"16MiB\"", "What may be published and not acknowledged.",
     READ(take_bytes(node, c.nats.bytes_in_flight, 1))},
    {"nats", "hold_after_ack", "duration", "\"0\"",
     "The log keeps what the stream acknowledged for so long: the stream's servers may not have "
     "synced it.",
     READ(take_duration(node, c.nats.hold_after_ack_ns, 0))},
    {"nats", "credentials_file", "text", "\"\"", "A .creds file.",
     READ(take_text(node, c.nats.credentials_file))},
    {"nats", "ca_file", "text", "\"\"", "Who signs the servers' certificate.",
     READ(take_text(node, c.nats.ca_file))},
};
#undef READ

constexpr std::pair<std::string_view, SinkKind> kSinks[] = {{"webhook", SinkKind::kWebhook},
                                                            {"lmtp", SinkKind::kLmtp},
                                                            {"maildir", SinkKind::kMaildir},
                                                            {"nats", SinkKind::kNats}};

std::string path_of(std::string_view section, std::string_view name) {
  return section.empty() ? std::string(name) : fmt::format("{}.{}", section, name);
}

bool is_section(std::string_view name) {
  return std::ranges::any_of(kKeys,
                             [&](const Key& key) { return !name.empty() && key.section == name; });
}

// Walks one table; what is in it that no key takes is a fault.
class Walk {
 public:
  Walk(Config& config, std::vector<Fault>& faults) : config_(config), faults_(faults) {}

  void table(std::string_view section, const toml::table& table) {
    for (const auto& [name, node] : table) {
      if (section.empty() && is_section(name.str())) {
        const toml::table* inner = node.as_table();
        if (inner == nullptr) {
          fault(node.source(), fmt::format("{} must be a table", name.str()));
        } else {
          this->table(name.str(), *inner);
        }
        continue;
      }
      value(section, name.str(), name.source(), node);
    }
  }

 private:
  void fault(const toml::source_region& where, std::string text) {
    faults_.push_back({where.begin, std::move(text)});
  }

  void value(std::string_view section, std::string_view name, const toml::source_region& at,
             const toml::node& node) {
    for (const Key& key : kKeys) {
      if (key.section != section || key.name != name) continue;
      const std::string wanted = key.read(node, config_);
      if (!wanted.empty()) {
        fault(node.source(), fmt::format("{} must be {}", path_of(section, name), wanted));
      }
      return;
    }
    std::vector<std::string> known;
    for (const Key& key : kKeys) {
      if (key.section == section) known.push_back(path_of(key.section, key.name));
      if (section.empty() && !key.section.empty()) known.emplace_back(key.section);
    }
    const std::string path = path_of(section, base::escaped(name));
    std::string_view near = base::nearest(path, known);
    std::string elsewhere;
    for (const Key& key : kKeys) {
      if (near.empty() && key.name == name) elsewhere = path_of(key.section, key.name);
    }
    if (near.empty()) near = elsewhere;
    fault(at, fmt::format("unknown key {}{}", path,
                          near.empty() ? "" : fmt::format("; did you mean {}?", near)));
  }

  Config& config_;
  std::vector<Fault>& faults_;
};

}  // namespace

std::string_view word(SinkKind sink) {
  for (const auto& [name, kind] : kSinks) {
    if (kind == sink) return name;
  }
  return "";
}

std::optional<StartWord> parse_start(std::string_view text, std::int64_t now_us) {
  if (text == "earliest") return StartWord{};
  if (text == "latest") return StartWord{StartWord::Kind::kLatest, 0, 0};
  std::uint64_t offset = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), offset);
  if (parsed.ec == std::errc() && parsed.ptr == text.data() + text.size()) {
    return StartWord{StartWord::Kind::kOffset, offset, 0};
  }
  const auto moment = base::parse_time(text, base::WallTime{now_us});
  if (!moment) return std::nullopt;
  return StartWord{StartWord::Kind::kTime, 0, *moment};
}

std::expected<Config, std::vector<std::string>> parse_config(std::string_view text,
                                                             std::string_view name) {
  Config config;
  const std::string shown = base::escaped(name);
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    const auto& at = parsed.error().source().begin;
    return std::unexpected(std::vector{fmt::format("{}:{}:{}: {}", shown, at.line, at.column,
                                                   base::escaped(parsed.error().description()))});
  }
  std::vector<Fault> faults;
  Walk(config, faults).table("", parsed.table());
  std::ranges::stable_sort(faults, [](const Fault& a, const Fault& b) {
    return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
  });
  std::vector<std::string> mistakes;
  for (const Fault& fault : faults) {
    mistakes.push_back(
        fmt::format("{}:{}:{}: {}", shown, fault.at.line, fault.at.column, fault.text));
  }
  // Where a table or key stands, for what is wrong between keys.
  const auto place = [&](std::string_view section, std::string_view key) {
    const toml::node* node = parsed.table().get(section.empty() ? key : section);
    if (!section.empty() && node != nullptr && node->is_table()) {
      const toml::node* inner = node->as_table()->get(key);
      if (inner != nullptr) node = inner;
    }
    if (node == nullptr) return shown + ":1:1";
    return fmt::format("{}:{}:{}", shown, node->source().begin.line, node->source().begin.column);
  };
  std::vector<std::string_view> sinks;
  for (const auto& [section, kind] : kSinks) {
    if (!parsed.table().contains(section)) continue;
    sinks.push_back(section);
    config.sink = kind;
  }
  if (sinks.size() != 1) {
    mistakes.push_back(fmt::format(
        "{}: exactly one of [webhook], [lmtp], [maildir] and [nats] says where to deliver; there "
        "{}",
        sinks.empty() ? shown + ":1:1" : place("", sinks[1]),
        sinks.empty() ? std::string("is none") : fmt::format("are {}", fmt::join(sinks, ", "))));
  }
  if (mistakes.empty()) check_config(config, place, mistakes);
  if (!mistakes.empty()) return std::unexpected(std::move(mistakes));
  return config;
}

std::expected<Config, std::vector<std::string>> read_config(const std::string& path) {
  constexpr std::size_t kFileBytesMax = 1 << 20;
  auto text = read_small_file(path, kFileBytesMax);
  if (!text) return std::unexpected(std::vector{text.error()});
  return parse_config(*text, path);
}

std::string config_help() {
  std::string out = "# A relay's configuration: every key with its default. One sink is enough.\n";
  std::string_view section;
  for (const Key& key : kKeys) {
    if (key.section != section) {
      section = key.section;
      out += fmt::format("\n[{}]\n", section);
    }
    out += fmt::format("# {} ({})\n{} = {}\n", key.meaning, key.kind, key.name, key.shown);
  }
  return out;
}

}  // namespace mxring::relay
