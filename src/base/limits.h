// Every limit of the receiver in one place, with the reply a client gets when it is reached. Each
// is a key of the configuration's [limits] table, under the member's own name without its unit
// suffix where the value carries one ("25MiB", "300s"), except message_size and header_size.
//
// Thread: a value object, copied into each shard at start.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mxring::base {

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;

struct Limits {
  std::uint64_t message_bytes = 25 * kMiB;        // 552 5.3.4
  std::uint32_t command_line_bytes = 512;         // 500 5.5.2 (RFC 5321 4.5.3.1.4), CRLF included
  std::uint32_t command_line_extra_bytes = 1536;  // MAIL/RCPT parameters on top of it
  std::uint32_t command_line_close_bytes = 64 * kKiB;  // 500 5.5.2, then closed
  std::uint32_t message_line_flag_bytes = 998;         // flagged in the record (RFC 5322 2.1.1)
  std::uint32_t message_line_bytes = 64 * kKiB;        // 550 5.6.0
  std::uint32_t header_bytes = 128 * kKiB;             // 552 5.3.4
  std::uint32_t header_fields = 1000;                  // 552 5.3.4
  std::uint32_t received_fields = 100;                 // 554 5.4.6 (loop)
  std::uint32_t recipients = 1000;                     // 452 4.5.3
  std::uint32_t messages_per_connection = 1000;        // 421 4.7.0
  std::uint32_t commands_without_mail = 100;           // 421 4.7.0; between messages
  std::uint32_t connections = 20'000;                  // 421 4.7.0
  std::uint32_t connections_per_ip = 50;     // 421 4.7.0; IPv6 per /64; loopback unlimited
  std::uint32_t connections_per_minute = 0;  // 421 4.7.0; per client, as the next two; 0 = off
  std::uint32_t messages_per_minute = 0;     // 450 4.7.0
  std::uint32_t recipients_per_minute = 0;   // 450 4.7.0
  std::uint32_t errors_soft = 10;            // replies slowed by error_delay
  std::uint32_t errors_hard = 20;            // 421 4.7.0, closed
  std::int64_t error_delay_ns = 1'000'000'000;
  std::int64_t command_wait_ns = 300'000'000'000;  // 421 4.4.2
  std::int64_t command_time_ns = 300'000'000'000;  // 421 4.4.2; one command, from its first byte
  std::int64_t command_time_short_ns = 60'000'000'000;  // ... when memory or connections are short
  std::uint32_t data_rate_bytes = 500;                  // 421 4.4.2 when below it (B/s) over ...
  std::int64_t data_rate_window_ns = 60'000'000'000;    // ... any window of this length
  std::int64_t data_gap_ns = 10'000'000'000;            // ... that has no longer gap
  std::int64_t data_silence_ns = 300'000'000'000;       // 421 4.4.2; one gap
  std::int64_t data_silence_all_ns = 600'000'000'000;   // 421 4.4.2; all gaps of a message
  std::int64_t proxy_header_ns = 10'000'000'000;        // 421 4.3.0
  std::int64_t tls_handshake_ns = 30'000'000'000;       // closed
  std::int64_t drain_ns = 30'000'000'000;               // transactions in progress at SIGTERM
  std::uint32_t disk_reserve_percent = 5;               // 452 4.3.1 at MAIL: the larger of both
  std::uint32_t disk_reserve_segments = 4;
  std::uint64_t memory_bytes = 256 * kMiB;      // per shard: reading pauses, then 452 4.3.1
  std::int64_t memory_wait_ns = 5'000'000'000;  // how long reading may pause before that
  std::uint32_t dkim_signatures = 10;           // further ones ignored
  std::uint32_t rsa_bits_min = 1024;            // policy
  std::uint32_t rsa_bits_max = 4096;
  std::uint32_t spf_lookups = 10;    // permerror
  std::uint32_t spf_voids = 2;       // permerror
  std::uint32_t dns_questions = 40;  // temperror; per message and method
  // Temperror. From MAIL FROM on, anew from the header section and from the end of data on.
  std::int64_t dns_time_ns = 20'000'000'000;
  std::uint64_t dns_cache_bytes = 64 * kMiB;  // per shard; least recently used goes
  // Questions under way at once, per shard; a quarter is kept for DMARC's. Beyond it temperror for
  // SPF and DKIM, and 451 4.4.5 when it is the policy that could not be asked for.
  std::uint32_t dns_outstanding = 16'384;
  std::uint32_t dns_outstanding_per_ip = 256;  // and per client, as connections_per_ip; DMARC's
                                               // count apart
};

// What must hold between limits, the key that is at fault when it does not, and what to say then.
struct LimitRelation {
  std::string_view key;
  std::string_view words;
  bool (*holds)(const Limits&);
};

constexpr std::array kLimitRelations{
    LimitRelation{"command_line_close", "must be at least command_line + command_line_extra",
                  [](const Limits& l) {
                    return std::uint64_t{l.command_line_bytes} + l.command_line_extra_bytes <=
                           l.command_line_close_bytes;
                  }},
    LimitRelation{
        "message_line", "must be at least message_line_flag",
        [](const Limits& l) { return l.message_line_flag_bytes <= l.message_line_bytes; }},
    LimitRelation{"header_size", "must not exceed message_size",
                  [](const Limits& l) { return l.header_bytes <= l.message_bytes; }},
    LimitRelation{"received_fields", "must not exceed header_fields",
                  [](const Limits& l) { return l.received_fields <= l.header_fields; }},
    LimitRelation{"errors_soft", "must not exceed errors_hard",
                  [](const Limits& l) { return l.errors_soft <= l.errors_hard; }},
    LimitRelation{"connections_per_ip", "must not exceed connections",
                  [](const Limits& l) { return l.connections_per_ip <= l.connections; }},
    LimitRelation{"dns_outstanding_per_ip", "must not exceed dns_outstanding",
                  [](const Limits& l) { return l.dns_outstanding_per_ip <= l.dns_outstanding; }},
    LimitRelation{"memory", "must hold at least two messages of message_size",
                  [](const Limits& l) { return l.message_bytes * 2 <= l.memory_bytes; }},
    LimitRelation{"message_size", "must not exceed 2GiB",
                  [](const Limits& l) { return l.message_bytes <= (std::uint64_t{1} << 31); }},
    LimitRelation{"rsa_bits_min", "must not exceed rsa_bits_max",
                  [](const Limits& l) { return l.rsa_bits_min <= l.rsa_bits_max; }},
    LimitRelation{"recipients", "must be at least 100 (RFC 5321 4.5.3.1.8)",
                  [](const Limits& l) { return l.recipients >= 100; }},
    LimitRelation{"command_line", "must be at least 512 (RFC 5321 4.5.3.1.4)",
                  [](const Limits& l) { return l.command_line_bytes >= 512; }},
    LimitRelation{"command_time_short", "must not exceed command_time",
                  [](const Limits& l) { return l.command_time_short_ns <= l.command_time_ns; }},
    LimitRelation{"data_silence", "must not exceed data_silence_all",
                  [](const Limits& l) { return l.data_silence_ns <= l.data_silence_all_ns; }},
};

constexpr bool limits_agree(const Limits& limits) {
  for (const LimitRelation& relation : kLimitRelations) {
    if (!relation.holds(limits)) return false;
  }
  return true;
}
static_assert(limits_agree(Limits{}));

}  // namespace mxring::base
