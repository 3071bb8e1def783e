// The table of all keys of the configuration: parsing, the environment's names, "did you mean",
// `-t`, `--help-config` and the manual page all come from it, so a key cannot exist in one of them
// only.
//
// Thread: any. Failure: none; a kind's read() notes its own (server/config_values.h).
#include "server/config_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <type_traits>
#include <utility>

#include "base/clock.h"
#include "base/text.h"

namespace mxring::server {

namespace {

// How a value of this kind is written where there is no TOML around it.
template <class Kind, class Value>
constexpr ValueForm form_of() {
  if constexpr (requires { Kind::kBare; }) {
    return ValueForm::kBare;
  } else if constexpr (requires { typename Value::allocator_type; } &&
                       !std::is_same_v<Value, std::string>) {
    return ValueForm::kList;
  } else {
    return ValueForm::kText;
  }
}

// `Member` is a generic lambda, so that one expression serves reading and showing.
// `Member` is a generic lambda, so that one expression serves reading and showing.
template <class Kind, auto Member>
constexpr ConfigKey key(std::string_view section, std::string_view name, std::string_view meaning) {
  using Value = std::remove_cvref_t<decltype(Member(std::declval<Config&>()))>;
  return {section,
          name,
          form_of<Kind, Value>(),
          [] {
            if constexpr (requires { Kind::names(); }) {
              return Kind::names();
            } else {
              return std::string(Kind::kName);
            }
          },
          meaning,
          [](const toml::node& node, Config& config, const Reading& reading) {
            Kind::read(node, Member(config), reading);
          },
          [](const Config& config) { return Kind::show(Member(config)); }};
}

constexpr std::uint64_t kGiB = 1024 * base::kMiB;
constexpr std::uint64_t kTiB = 1024 * kGiB;
constexpr std::int64_t kMs = base::kNsPerMs;
constexpr std::uint32_t kMany = 1'000'000'000;

#define MEMBER(path)          \
  [](auto& config) -> auto& { \
    return config.path;       \
  }
// Sections in the order in which they are documented and shown.
constexpr std::array kKeys{
    key<Hostname, MEMBER(hostname)>("", "hostname",
                                    "Our name in the banner and in Received; \"\" = the system's."),
    key<Text, MEMBER(user)>(
        "", "user",
        "Started as root, the server changes to this account once its ports are bound and its keys "
        "are read; \"\" = it stays root."),
    key<Flag, MEMBER(confine)>(
        "", "confine",
        "Once started, open files only below the folders named here (Landlock) and make only the "
        "system calls that receiving mail needs (seccomp)."),

    key<Endpoints, MEMBER(listen.smtp)>("listen", "smtp",
                                        "Where SMTP is spoken; port 0 = a free one."),
    key<Endpoints, MEMBER(listen.smtps)>(
        "listen", "smtps", "Where TLS comes first; none by default once smtp is set."),
    key<AdminAddress, MEMBER(listen.admin)>("listen", "admin",
                                            "Where /metrics, /status and /healthz are served over "
                                            "HTTP: ADDR:PORT, or unix:PATH for this "
                                            "host only; \"\" = nowhere."),
    key<Text, MEMBER(listen.admin_token_file)>(
        "listen", "admin_token_file",
        "On TCP the pages that show mail want the first line of this file as a token; \"\" = they "
        "are shown over unix:PATH only."),
    key<Texts, MEMBER(listen.admin_names)>(
        "listen", "admin_names",
        "Names under which clients may ask the admin address (the Host field), beside addresses, "
        "localhost and our host name: against pages of strangers whose names lead here."),
    key<Text, MEMBER(listen.control)>(
        "listen", "control",
        "The Unix socket of `mxring ctl`, which its owner alone may use; \"\" = "
        "$RUNTIME_DIRECTORY/control, else control in log.dir."),
    key<Networks, MEMBER(listen.proxy)>(
        "listen", "proxy",
        "The networks of balancers: their connections begin with a PROXY protocol header (version "
        "1 or 2), and the client that it names is the one meant by all else."),
    key<Networks, MEMBER(listen.xclient)>(
        "listen", "xclient",
        "The networks whose XCLIENT is believed, whatever a PROXY header says: a network in both "
        "lets everybody behind its balancer claim any address."),

    key<Count<0, 1024>, MEMBER(shards.count)>(
        "shards", "count", "Receiving threads; 0 = chosen from the cores this process may use."),
    key<Flag, MEMBER(shards.pin)>("shards", "pin", "Bind each shard to one core."),
    key<Choice<kEngineWords>, MEMBER(shards.engine)>(
        "shards", "engine",
        "What carries the operations out; auto = io_uring, or epoll (slower) where that is "
        "forbidden."),
    key<Bytes<4096, base::kMiB>, MEMBER(shards.buffer_bytes)>(
        "shards", "buffer_bytes", "The size of one receive buffer; a power of two."),
    key<Count<8, 32768>, MEMBER(shards.buffers_offered)>(
        "shards", "buffers_offered", "Buffers in the kernel's ring at a time; a power of two."),
    key<Count<64, 32768>, MEMBER(shards.submission_entries)>(
        "shards", "submission_entries", "The depth of a ring's submission queue; a power of two."),
    key<Count<256, 65536>, MEMBER(shards.completion_entries)>(
        "shards", "completion_entries",
        "The depth of its completion queue; a power of two, larger than the other."),

    key<Text, MEMBER(log.dir)>("log", "dir", "The log's directory; one server writes to it."),
    key<Bytes<base::kMiB, 64 * kGiB>, MEMBER(log.segment_bytes)>("log", "segment_bytes",
                                                                 "The size of one log file."),
    key<Choice<kSyncWords>, MEMBER(log.sync)>(
        "log", "sync",
        "With \"commit\" the 250 comes after the message is durable; \"none\" is for benchmarks "
        "only: acknowledged mail is lost in a crash."),
    key<Bytes<0, 1024 * kTiB>, MEMBER(log.retain_bytes)>(
        "log", "retain_bytes",
        "The oldest segments go when the log is larger than this; 0 = keep all."),
    key<Duration<0>, MEMBER(log.retain_age_ns)>("log", "retain_age",
                                                "Segments older than this go; 0 = keep all."),
    key<Bytes<0, kGiB>, MEMBER(log.scrub_rate)>(
        "log", "scrub_rate",
        "The whole log is read and checked again and again, this much of it a second; 0 = never."),
    key<Duration<0>, MEMBER(log.commit_window_ns)>(
        "log", "commit_window", "When busy, wait this long for more messages before a commit."),

    key<Bytes<0, 1024 * kTiB>, MEMBER(groups.hold_bytes)>(
        "groups", "hold_bytes",
        "What groups may keep of the log beyond its retention; 0 = until the disk reserve."),
    key<Choice<kHoldFullWords>, MEMBER(groups.on_hold_full)>(
        "groups", "on_hold_full",
        "Then refuse new mail with 452, or drop the oldest: counted, and a gap to the groups."),

    key<Text, MEMBER(tls.certificate)>(
        "tls", "certificate",
        "A PEM file, its chain after it, for clients whose server name no other certificate has; "
        "\"\" = a self-signed one. SIGHUP reads all of them again."),
    key<Text, MEMBER(tls.key)>("tls", "key", "A PEM file with its private key, RSA or ECDSA."),
    key<CertificateFiles, MEMBER(tls.certificates)>(
        "tls", "certificates",
        "More of them, for the names in them that a client asks for; or as [[tls.certificates]]. "
        "RSA and ECDSA for the same name may stand side by side."),
    key<Choice<kTlsWords>, MEMBER(tls.minimum)>("tls", "minimum",
                                                "The oldest TLS version that is spoken."),
    key<Flag, MEMBER(tls.starttls)>("tls", "starttls", "Offer STARTTLS where smtp is spoken."),
    key<Flag, MEMBER(tls.tickets)>("tls", "tickets", "Let clients resume their TLS sessions."),
    key<Duration<base::kNsPerSecond>, MEMBER(tls.ticket_rotation_ns)>(
        "tls", "ticket_rotation",
        "A new ticket key is made so often; the one before it still decrypts, older tickets are "
        "void."),

    key<Resolvers, MEMBER(dns.servers)>("dns", "servers",
                                        "The resolvers to ask; empty = the system's."),
    key<Duration<kMs>, MEMBER(dns.timeout_ns)>("dns", "timeout", "How long one answer may take."),

    key<Flag, MEMBER(auth.spf)>(
        "auth", "spf", "Evaluate SPF for every message and keep the result in its record."),
    key<Flag, MEMBER(auth.dkim)>("auth", "dkim",
                                 "Verify DKIM signatures and keep the results in the record."),
    key<Flag, MEMBER(auth.dmarc)>("auth", "dmarc",
                                  "Find and apply the From domain's DMARC policy; exactly one From "
                                  "field with one mailbox is required, else 550 5.6.0."),
    key<Choice<kRejectWords>, MEMBER(auth.on_dmarc_reject)>(
        "auth", "on_dmarc_reject",
        "What happens to mail that fails a policy of reject: 550 5.7.26; or it is accepted, marked "
        "in its record and Authentication-Results. RFC 9989 advises not to refuse mail for its "
        "policy alone: mailing lists break alignment. \"quarantine\" follows that advice."),
    key<Choice<kQuarantineWords>, MEMBER(auth.on_dmarc_quarantine)>(
        "auth", "on_dmarc_quarantine",
        "What happens to mail that fails a policy of quarantine: it is accepted, marked or not."),
    key<Choice<kTemperrorWords>, MEMBER(auth.on_dmarc_temperror)>(
        "auth", "on_dmarc_temperror",
        "What happens to mail for which DNS did not say whether it passes: \"quarantine\" marks it "
        "where the policy is known to be reject or quarantine, and accepts it where not even the "
        "policy could be found out; \"tempfail\" puts it off in both cases, 451 4.7.5 and 4.4.3."),
    key<Choice<kNoAuthorWords>, MEMBER(auth.on_no_author)>(
        "auth", "on_no_author",
        "What happens, with dmarc, to mail without a From field, or whose From names no domain at "
        "all, as that of many bounces does (\"MAILER-DAEMON\"): \"bounces\" accepts it with a null "
        "reverse-path, \"accept\" always, \"reject\" never (550 5.6.0). What is accepted has "
        "dmarc=permerror. Two From fields, or two domains in one, are refused in any case."),

    key<Domains, MEMBER(recipients.domains)>(
        "recipients", "domains",
        "Accepted recipient domains, in any script; others get 550 5.7.1; empty = all are "
        "accepted."),

    key<Text, MEMBER(recipients.file)>(
        "recipients", "file",
        "Recipients, one a line: joe@example.org, @example.org for everybody there, @.example.org "
        "for all domains below; others of a domain in the file get 550 5.1.1; \"\" = no file."),
    key<RecipientEntries, MEMBER(recipients.journal)>(
        "recipients", "journal",
        "Addresses, or @domains, that journaling servers write to: always received, and what would "
        "be refused for good there, or in a message to one of them, is a 4xx instead of the 5xx, "
        "so "
        "that the sender tries again. No message is refused there for its DMARC policy, nor for "
        "want of an author."),
    key<Text, MEMBER(recipients.extension)>(
        "recipients", "extension",
        "What follows one of these characters in a local part is not compared; \"\" = all is."),
    key<Text, MEMBER(access.file)>(
        "access", "file",
        "Rules, one a line, the first that matches wins: allow, deny or tempfail; client, helo, "
        "sender or recipient; what; and a text for the client. \"\" = no file."),
    key<BlockListEntries, MEMBER(access.dnsbl)>(
        "access", "dnsbl",
        "DNS block lists; \"zone=127.0.0.2/31\" counts these answers only. A client on one gets "
        "554 5.7.1 at RCPT, but for postmaster; a list that does not answer refuses nobody."),
    key<TokenPatterns, MEMBER(decode.bounce_tokens)>(
        "decode", "bounce_tokens",
        "Where a bounce says which message it is about: \"recipient: bounces+{}@*\", or a field of "
        "the returned message, \"X-Campaign: {}\"; the first that is found. For `mxring decode "
        "-c`."),
    key<Text, MEMBER(journal.to)>("journal", "to",
                                  "Where a line goes for everything that is refused or cut off: "
                                  "\"stderr\", a file (SIGHUP opens "
                                  "it again), or \"\" for nowhere."),
    key<Choice<kJournalWords>, MEMBER(journal.format)>("journal", "format",
                                                       "How a line is written."),
    key<Flag, MEMBER(journal.accepted)>("journal", "accepted",
                                        "A line for accepted messages, too."),
    key<Count<1, 1'000'000>, MEMBER(journal.rate)>(
        "journal", "rate",
        "Lines in a second; beyond it those equal in event, stage and reply are counted and become "
        "one line."),

    key<Flag, MEMBER(syntax.spaces_in_paths)>(
        "syntax", "spaces_in_paths",
        "Take blanks around the colon and the brackets: \"MAIL FROM: <a@b>\"."),
    key<Flag, MEMBER(syntax.bare_paths)>("syntax", "bare_paths",
                                         "Take paths without brackets: \"MAIL FROM:a@b\"."),
    key<Flag, MEMBER(syntax.dots_in_local_part)>(
        "syntax", "dots_in_local_part",
        "Take dots anywhere in a local part, as mobile carriers have them: a..b@, .a@, a.@."),
    key<Flag, MEMBER(syntax.any_hello_name)>(
        "syntax", "any_hello_name",
        "Take any printable argument of EHLO and HELO; it is kept as given and never trusted."),
    key<Flag, MEMBER(syntax.auth_parameter)>(
        "syntax", "auth_parameter", "Ignore AUTH= at MAIL rather than refuse it with 555."),
    key<Flag, MEMBER(syntax.xtext_lower_case)>(
        "syntax", "xtext_lower_case", "Take lower-case hexadecimal digits in ORCPT and ENVID."),
    key<Flag, MEMBER(syntax.trailing_dot)>(
        "syntax", "trailing_dot", "Take a dot after the domain of an address, and drop it."),
    key<Flag, MEMBER(syntax.hello_optional)>("syntax", "hello_optional",
                                             "Take MAIL from a client that said no EHLO or HELO."),
    key<Flag, MEMBER(syntax.from_line)>(
        "syntax", "from_line",
        "Take a message with an mbox \"From \" line on top; the line is kept in the log, and "
        "readers "
        "leave it out. \"From : a@b\" is a header field all the same."),
    key<Flag, MEMBER(syntax.no_header)>(
        "syntax", "no_header",
        "Take a message without any header field; with dmarc it needs auth.on_no_author too."),

    key<Bytes<1024, 2 * kGiB>, MEMBER(limits.message_bytes)>(
        "limits", "message_size", "The size of a message; a larger one gets 552 5.3.4."),
    key<Bytes<512, 64 * base::kMiB>, MEMBER(limits.command_line_bytes)>(
        "limits", "command_line", "A command with its CRLF; a longer one gets 500 5.5.2."),
    key<Bytes<0, 64 * base::kMiB>, MEMBER(limits.command_line_extra_bytes)>(
        "limits", "command_line_extra",
        "MAIL and RCPT, which have parameters, may be longer by this."),
    key<Bytes<512, 128 * base::kMiB>, MEMBER(limits.command_line_close_bytes)>(
        "limits", "command_line_close",
        "After a command line longer than this the connection is closed with 500 5.5.2."),
    key<Bytes<1, kGiB>, MEMBER(limits.message_line_flag_bytes)>(
        "limits", "message_line_flag",
        "A message with a longer line is accepted, and flagged in its record."),
    key<Bytes<78, kGiB>, MEMBER(limits.message_line_bytes)>(
        "limits", "message_line", "A message with a line longer than this gets 550 5.6.0."),
    key<Bytes<512, kGiB>, MEMBER(limits.header_bytes)>(
        "limits", "header_size", "The size of the header section; a larger one gets 552 5.3.4."),
    key<Count<1, kMany>, MEMBER(limits.header_fields)>(
        "limits", "header_fields", "Fields in the header section; more get 552 5.3.4."),
    key<Count<1, kMany>, MEMBER(limits.received_fields)>(
        "limits", "received_fields",
        "Received fields; more are taken for a loop and get 554 5.4.6."),
    key<Count<100, kMany>, MEMBER(limits.recipients)>(
        "limits", "recipients", "Recipients of a message; further ones get 452 4.5.3."),
    key<Count<1, kMany>, MEMBER(limits.messages_per_connection)>(
        "limits", "messages_per_connection",
        "Messages on one connection; then it is closed with 421 4.7.0."),
    key<Count<1, kMany>, MEMBER(limits.commands_without_mail)>(
        "limits", "commands_without_mail",
        "Commands that bring no mail (NOOP, EHLO, RSET, VRFY, HELP) between two messages; then the "
        "connection is closed with 421 4.7.0."),
    key<Count<1, kMany>, MEMBER(limits.connections)>(
        "limits", "connections",
        "Connections in all; further ones get 421 4.7.0. Fewer where the open files limit is "
        "lower."),
    key<Count<1, kMany>, MEMBER(limits.connections_per_ip)>(
        "limits", "connections_per_ip",
        "Connections from one address (IPv6: from one /64), loopback excepted; further ones get "
        "421 4.7.0."),
    key<Count<0, kMany>, MEMBER(limits.connections_per_minute)>(
        "limits", "connections_per_minute",
        "New connections of one client (IPv6: /64) within a minute; more get 421 4.7.0; 0 = off."),
    key<Count<0, kMany>, MEMBER(limits.messages_per_minute)>(
        "limits", "messages_per_minute",
        "Messages of one client within a minute; more get 450 4.7.0 at MAIL; 0 = off."),
    key<Count<0, kMany>, MEMBER(limits.recipients_per_minute)>(
        "limits", "recipients_per_minute",
        "Recipients of one client within a minute; more get 450 4.7.0 at RCPT; 0 = off."),
    key<Count<1, kMany>, MEMBER(limits.errors_soft)>(
        "limits", "errors_soft", "After so many syntax errors replies are slowed."),
    key<Count<1, kMany>, MEMBER(limits.errors_hard)>(
        "limits", "errors_hard",
        "After so many syntax errors the connection is closed with 421 4.7.0."),
    key<Duration<0>, MEMBER(limits.error_delay_ns)>("limits", "error_delay",
                                                    "How much replies are slowed then."),
    key<Duration<kMs>, MEMBER(limits.command_wait_ns)>(
        "limits", "command_wait",
        "After so long a silence between commands the connection is closed with 421 4.4.2."),
    key<Duration<kMs>, MEMBER(limits.command_time_ns)>(
        "limits", "command_time",
        "How long one command may take to arrive, from its first byte; then 421 4.4.2."),
    key<Duration<kMs>, MEMBER(limits.command_time_short_ns)>(
        "limits", "command_time_short", "The same while memory or connections are short."),
    key<Bytes<0, kGiB>, MEMBER(limits.data_rate_bytes)>(
        "limits", "data_rate",
        "Bytes of a message per second; a slower client gets 421 4.4.2; 0 = any speed."),
    key<Duration<kMs>, MEMBER(limits.data_rate_window_ns)>(
        "limits", "data_rate_window", "The rate is that of any span this long."),
    key<Duration<kMs>, MEMBER(limits.data_gap_ns)>(
        "limits", "data_gap", "Time in a longer gap than this does not count for the rate."),
    key<Duration<kMs>, MEMBER(limits.data_silence_ns)>(
        "limits", "data_silence",
        "After so long a silence within a message the connection is closed with 421 4.4.2."),
    key<Duration<kMs>, MEMBER(limits.data_silence_all_ns)>(
        "limits", "data_silence_all", "All such gaps of one message together."),
    key<Duration<kMs>, MEMBER(limits.proxy_header_ns)>(
        "limits", "proxy_header",
        "How long a PROXY header may take to arrive from listen.proxy; then 421 4.3.0."),
    key<Duration<kMs>, MEMBER(limits.tls_handshake_ns)>(
        "limits", "tls_handshake", "A TLS handshake that takes longer ends the connection."),
    key<Duration<0>, MEMBER(limits.drain_ns)>(
        "limits", "drain",
        "How long transactions in progress may go on when the server is stopped."),
    key<Count<0, 99>, MEMBER(limits.disk_reserve_percent)>(
        "limits", "disk_reserve_percent",
        "The share of the file system that is kept free; below it mail gets 452 4.3.1."),
    key<Count<0, 1000>, MEMBER(limits.disk_reserve_segments)>(
        "limits", "disk_reserve_segments", "Or room for this many segments, when that is more."),
    key<Bytes<base::kMiB, kTiB>, MEMBER(limits.memory_bytes)>(
        "limits", "memory",
        "Memory of each shard for messages in flight, envelopes, TLS state and replies not read; "
        "when it is short reading pauses, then mail gets 452 4.3.1, and whoever holds most without "
        "a message 421 4.3.2."),
    key<Duration<0>, MEMBER(limits.memory_wait_ns)>(
        "limits", "memory_wait", "How long reading pauses for it before that reply."),
    key<Count<0, 1000>, MEMBER(limits.dkim_signatures)>(
        "limits", "dkim_signatures",
        "DKIM signatures of a message that are evaluated; further ones are ignored."),
    key<Count<512, 16384>, MEMBER(limits.rsa_bits_min)>(
        "limits", "rsa_bits_min", "A signature with a shorter RSA key has the result \"policy\"."),
    key<Count<512, 16384>, MEMBER(limits.rsa_bits_max)>(
        "limits", "rsa_bits_max",
        "A signature with a longer RSA key has the result \"policy\", too."),
    key<Count<1, 1000>, MEMBER(limits.spf_lookups)>(
        "limits", "spf_lookups", "Terms of one SPF check that ask DNS; more are a permerror."),
    key<Count<0, 1000>, MEMBER(limits.spf_voids)>(
        "limits", "spf_voids", "How many of these may find nothing; more are a permerror."),
    key<Count<1, 100000>, MEMBER(limits.dns_questions)>(
        "limits", "dns_questions",
        "DNS questions of each method for one message; more are a temperror."),
    key<Duration<kMs>, MEMBER(limits.dns_time_ns)>(
        "limits", "dns_time",
        "How long a message waits for answers; what is not known then is a temperror."),
    key<Bytes<0, kTiB>, MEMBER(limits.dns_cache_bytes)>(
        "limits", "dns_cache", "Memory of each shard for DNS answers; the least recently used go."),
    key<Count<16, 60'000>, MEMBER(limits.dns_outstanding)>(
        "limits", "dns_outstanding",
        "DNS questions of each shard under way, a quarter of them kept for DMARC policies; more "
        "are "
        "a temperror, and 451 4.4.5 where the policy could not be asked for."),
    key<Count<8, 60'000>, MEMBER(limits.dns_outstanding_per_ip)>(
        "limits", "dns_outstanding_per_ip",
        "How many of these one client (IPv6: one /64) may cause, and as many for policies, "
        "loopback "
        "excepted; more have the same result."),
};
#undef MEMBER

}  // namespace

std::span<const ConfigKey> config_keys() {
  return kKeys;
}

std::vector<std::string_view> config_sections() {
  std::vector<std::string_view> names;
  for (const ConfigKey& known : kKeys) {
    if (!known.section.empty() && (names.empty() || names.back() != known.section)) {
      names.push_back(known.section);
    }
  }
  return names;
}

}  // namespace mxring::server
