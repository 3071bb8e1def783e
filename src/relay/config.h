// A relay's configuration file: TOML, strictly read. One table names every key with its kind and
// meaning; reading, "did you mean" and `--help-config` come from it.
//
// Thread: any. Failure: a line for each mistake, with file, line and column.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace mxring::relay {

enum class SinkKind : std::uint8_t { kWebhook, kLmtp, kMaildir, kNats };
enum class Payload : std::uint8_t { kFull, kThin, kRaw };
enum class WebhookOrder : std::uint8_t { kOffset, kLane, kNone };

struct WebhookConfig {
  std::string url;
  std::string secret_file;
  std::string basic_auth_file;
  std::string ca_file;
  bool allow_private = false;
  Payload payload = Payload::kFull;
  bool delivered = true;  // form: else as received
  std::uint64_t inline_bytes = 512ULL << 10;
  WebhookOrder order = WebhookOrder::kOffset;
  std::uint32_t connections = 8;
  std::int64_t timeout_ns = 15 * base::kNsPerSecond;
};

struct LmtpConfig {
  std::string address;
  std::string recipients = "as-received";
  std::uint32_t connections = 1;
  std::int64_t timeout_ns = 300 * base::kNsPerSecond;
};

struct MaildirConfig {
  std::string path;
};

struct NatsConfig {
  std::vector<std::string> servers;
  std::string stream;
  std::string subject;
  Payload payload = Payload::kFull;
  std::uint32_t replicas = 1;
  bool create = true;
  std::uint64_t bytes_in_flight = 16ULL << 20;
  std::int64_t hold_after_ack_ns = 0;
  std::string credentials_file;
  std::string ca_file;
};

struct Config {
  std::string group;
  std::string log;
  std::string start = "earliest";  // of a new group: earliest, latest, an offset or a time
  bool hold = true;
  std::string admin;
  std::vector<std::string> filter_recipients;
  std::vector<std::string> filter_dispositions;
  std::vector<std::string> filter_types;
  std::uint64_t commit_records = 1000;
  std::uint64_t commit_bytes = 8ULL << 20;
  std::int64_t commit_time_ns = 200 * base::kNsPerMs;
  std::int64_t retry_first_ns = base::kNsPerSecond;
  std::int64_t retry_max_ns = 300 * base::kNsPerSecond;
  std::int64_t give_up_after_ns = 0;
  std::uint64_t dead_bytes = 256ULL << 20;
  std::uint32_t dead_in_a_row = 10;
  std::vector<std::string> bounce_tokens;  // decode::TokenPattern
  std::string claim_url;
  SinkKind sink = SinkKind::kWebhook;
  WebhookConfig webhook;
  LmtpConfig lmtp;
  MaildirConfig maildir;
  NatsConfig nats;
};

std::string_view word(SinkKind sink);

// `name` is the file as messages call it. On failure: a line for each mistake.
std::expected<Config, std::vector<std::string>> parse_config(std::string_view text,
                                                             std::string_view name);
std::expected<Config, std::vector<std::string>> read_config(const std::string& path);
// Every key, its kind, its default and its meaning, as a file that could be used.
std::string config_help();

// Where a new group begins.
struct StartWord {
  enum class Kind : std::uint8_t { kEarliest, kLatest, kOffset, kTime } kind = Kind::kEarliest;
  std::uint64_t offset = 0;
  std::int64_t unix_us = 0;
};
std::optional<StartWord> parse_start(std::string_view text, std::int64_t now_us);

}  // namespace mxring::relay
