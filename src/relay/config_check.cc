#include "relay/config_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/clock.h"
#include "base/ip_address.h"
#include "base/moment.h"
#include "base/text.h"
#include "base/units.h"
#include "relay/files.h"
#include "relay/webhook_signature.h"
#include "seglog/cursor_file.h"

namespace mxring::relay {

namespace {

bool begins(const std::array<std::uint8_t, 16>& bytes, std::initializer_list<unsigned> prefix) {
  return std::equal(prefix.begin(), prefix.end(), bytes.begin());
}

bool is_private_v4(const std::uint8_t* b) {
  return b[0] == 0 || b[0] == 10 || b[0] == 127 || b[0] >= 224 ||  // this, private, loopback
         (b[0] == 100 && (b[1] & 0xC0) == 64) ||                   // shared (RFC 6598)
         (b[0] == 169 && b[1] == 254) || (b[0] == 172 && (b[1] & 0xF0) == 16) ||
         (b[0] == 192 && b[1] == 168) || (b[0] == 192 && b[1] == 0 && b[2] == 0) ||
         (b[0] == 198 && (b[1] & 0xFE) == 18);  // benchmarks (RFC 2544)
}

bool is_plain_text(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c > ' ' && c != 127; });
}

bool is_port(std::string_view text) {
  unsigned value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
    if (value > 65535) return false;
  }
  return !text.empty() && value > 0;
}

}  // namespace

bool is_private_address(std::string_view text) {
  const auto address = base::IpAddress::parse(text);
  if (!address) return false;
  const auto& bytes = address->bytes();
  if (address->is_v4()) return is_private_v4(bytes.data());
  if (address->is_loopback() || address->is_any()) return true;
  if ((bytes[0] & 0xFE) == 0xFC || (bytes[0] == 0xFE && (bytes[1] & 0x80) == 0x80)) return true;
  if (bytes[0] == 0xFF) return true;
  // What carries an IPv4 address: 64:ff9b::/96 (RFC 6052), 2002::/16 (6to4), ::a.b.c.d.
  if (begins(bytes, {0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0})) {
    return is_private_v4(bytes.data() + 12);
  }
  if (begins(bytes, {0, 0x64, 0xFF, 0x9B, 0, 1})) return true;  // local-use (RFC 8215)
  if (begins(bytes, {0x20, 0x02})) return is_private_v4(bytes.data() + 2);
  if (begins(bytes, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})) return true;
  return false;
}

std::optional<Url> parse_url(std::string_view text) {
  if (!is_plain_text(text)) return std::nullopt;
  const std::size_t colon = text.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  Url url;
  for (const char c : text.substr(0, colon)) url.scheme += base::ascii_lower(c);
  std::string_view rest = text.substr(colon + 3);
  rest = rest.substr(0, rest.find_first_of("/?#"));
  if (rest.find('@') != std::string_view::npos) return std::nullopt;  // no passwords in there
  if (rest.starts_with('[')) {
    const std::size_t end = rest.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    url.host = rest.substr(1, end - 1);
    rest = rest.substr(end + 1);
    if (!base::IpAddress::parse(url.host)) return std::nullopt;
    if (!rest.empty() && !rest.starts_with(':')) return std::nullopt;
  } else {
    url.host = rest.substr(0, rest.find(':'));
    rest = rest.substr(std::min(rest.size(), url.host.size()));
  }
  if (url.host.empty()) return std::nullopt;
  if (!rest.empty()) {
    url.port = rest.substr(1);
    if (!is_port(url.port)) return std::nullopt;
  }
  return url;
}

std::optional<PeerAddress> parse_peer(std::string_view text) {
  PeerAddress peer;
  if (text.starts_with("unix:")) {
    peer.unix_path = text.substr(5);
    constexpr std::size_t kSunPathMax = 107;
    if (peer.unix_path.empty() || peer.unix_path.size() > kSunPathMax) return std::nullopt;
    return peer;
  }
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || !is_plain_text(text)) return std::nullopt;
  std::string_view host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (!base::IpAddress::parse(host)) return std::nullopt;
  } else if (host.find(':') != std::string_view::npos) {
    return std::nullopt;
  }
  peer.host = host;
  peer.port = text.substr(colon + 1);
  if (peer.host.empty() || !is_port(peer.port)) return std::nullopt;
  return peer;
}

namespace {

class Check {
 public:
  Check(const Config& config, const Place& place, std::vector<std::string>& mistakes)
      : config_(config), place_(place), mistakes_(mistakes) {}
  void all();

 private:
  void say(std::string_view section, std::string_view key, std::string_view text) {
    mistakes_.push_back(fmt::format("{}: {}{}{} {}", place_(section, key), section,
                                    section.empty() ? "" : ".", key, text));
  }
  void webhook();
  void lmtp();
  void nats();

  const Config& config_;
  const Place& place_;
  std::vector<std::string>& mistakes_;
};

void Check::webhook() {
  const WebhookConfig& webhook = config_.webhook;
  const auto url = parse_url(webhook.url);
  if (!url || (url->scheme != "http" && url->scheme != "https")) {
    say("webhook", "url",
        "must be https://HOST/PATH (or http://); user and password go into basic_auth_file");
  } else if (!webhook.allow_private && is_private_address(url->host)) {
    say("webhook", "url", "names a private address; allow_private = true if that is what you mean");
  }
  if (webhook.payload == Payload::kRaw && webhook.inline_bytes == 0) {
    say("webhook", "inline_bytes", "0 leaves nothing to send with payload = \"raw\"");
  }
}

void Check::lmtp() {
  const LmtpConfig& lmtp = config_.lmtp;
  if (!parse_peer(lmtp.address)) {
    say("lmtp", "address", "must be HOST:PORT, [ADDR]:PORT or unix:PATH");
  }
  const std::size_t at = lmtp.recipients.rfind('@');
  const bool address = at != std::string::npos && at > 0 && at + 1 < lmtp.recipients.size() &&
                       is_plain_text(lmtp.recipients) &&
                       lmtp.recipients.find_first_of("<>") == std::string::npos;
  if (lmtp.recipients != "as-received" && !address) {
    say("lmtp", "recipients", "must be \"as-received\" or one address");
  }
}

void Check::nats() {
  const NatsConfig& nats = config_.nats;
  if (nats.servers.empty()) say("nats", "servers", "must name a server, nats://HOST:PORT");
  for (const std::string& server : nats.servers) {
    const auto url = parse_url(server);
    if (!url || (url->scheme != "nats" && url->scheme != "tls")) {
      say("nats", "servers",
          fmt::format("has \"{}\": write nats://HOST:PORT or tls://HOST:PORT",
                      base::escaped(server)));
    }
  }
  if (nats.stream.empty() || !is_plain_text(nats.stream) ||
      nats.stream.find_first_of(".*>/\\") != std::string::npos) {
    say("nats", "stream", "must be a stream's name, without \".\", \"*\", \">\" and blanks");
  }
  const std::string& subject = nats.subject;
  if (!is_plain_text(subject) || subject.find_first_of("*>") != std::string::npos ||
      subject.starts_with('.') || subject.ends_with('.') ||
      subject.find("..") != std::string::npos) {
    say("nats", "subject", "must be one subject, without wildcards");
  }
  if (nats.replicas % 2 == 0) say("nats", "replicas", "must be 1, 3 or 5");
}

void Check::all() {
  if (!seglog::is_group_name(config_.group)) {
    say("", "group", "must be a group's name: 1 to 64 letters, digits, - and _");
  }
  if (config_.log.empty()) say("", "log", "must name the log's directory");
  if (!parse_start(config_.start, base::read_clocks().wall.us)) {
    say("", "start",
        fmt::format("must be earliest, latest, an offset or a time: {}", base::kTimeForms));
  }
  if (config_.retry_max_ns < config_.retry_first_ns) {
    say("retry", "max", "must not be shorter than retry.first");
  }
  for (const std::string& pattern : config_.filter_recipients) {
    if (pattern.empty() || !is_plain_text(pattern)) {
      say("filter", "recipients", "has a pattern that is empty or has blanks in it");
    }
  }
  if (!config_.claim_url.empty()) {
    const auto url = parse_url(config_.claim_url);
    if (!url || (url->scheme != "http" && url->scheme != "https")) {
      say("claim", "url", "must be https://HOST[:PORT][/PATH]");
    }
  }
  switch (config_.sink) {
    case SinkKind::kWebhook:
      return webhook();
    case SinkKind::kLmtp:
      return lmtp();
    case SinkKind::kMaildir:
      if (config_.maildir.path.empty()) say("maildir", "path", "must name the Maildir");
      return;
    case SinkKind::kNats:
      return nats();
  }
}

}  // namespace

void check_config(const Config& config, const Place& place, std::vector<std::string>& mistakes) {
  Check(config, place, mistakes).all();
}

FileCheck check_files(const Config& config) {
  FileCheck check;
  const auto look = [&](std::string_view key, const std::string& path) {
    constexpr std::size_t kBytesMax = 4 << 20;
    std::string text;
    if (path.empty()) return text;
    auto read = read_small_file(path, kBytesMax);
    if (read) return std::move(*read);
    check.mistakes.push_back(fmt::format("{}: {}", key, read.error()));
    return text;
  };
  if (config.sink == SinkKind::kNats) {
    look("nats.credentials_file", config.nats.credentials_file);
    look("nats.ca_file", config.nats.ca_file);
    if (config.give_up_after_ns != 0) {
      check.notices.push_back(
          "retry.give_up_after does nothing for [nats]: a stream that is away is waited for, what "
          "is too large for it is a dead letter at once");
    }
  }
  if (config.sink != SinkKind::kWebhook) return check;
  const WebhookConfig& webhook = config.webhook;
  const std::string secrets = look("webhook.secret_file", webhook.secret_file);
  const std::string credentials = look("webhook.basic_auth_file", webhook.basic_auth_file);
  look("webhook.ca_file", webhook.ca_file);
  if (!webhook.secret_file.empty() && check.mistakes.empty()) {
    const auto parsed = WebhookSecrets::parse(secrets);
    if (!parsed) {
      check.mistakes.push_back(fmt::format("webhook.secret_file: {}: {}",
                                           base::escaped(webhook.secret_file), parsed.error()));
    }
  }
  if (!webhook.basic_auth_file.empty() && check.mistakes.empty() &&
      credentials.find(':') == std::string::npos) {
    check.mistakes.push_back(fmt::format("webhook.basic_auth_file: {}: write USER:PASSWORD",
                                         base::escaped(webhook.basic_auth_file)));
  }
  if (webhook.secret_file.empty() && webhook.basic_auth_file.empty()) {
    check.notices.push_back(
        "neither secret_file nor basic_auth_file: the receiver cannot tell who posts");
  }
  if (webhook.payload == Payload::kFull && config.claim_url.empty()) {
    check.notices.push_back(
        fmt::format("without [claim] url a message over {} is in no event, only in the log",
                    base::format_bytes(webhook.inline_bytes)));
  }
  return check;
}

}  // namespace mxring::relay
