// What the receiver runs with: the TOML file's contents (contract: README, "Configuration"), over
// them the environment's (server/config_environment.h), over these the command line's flags. A
// plain value; checked as a whole by validate() before use.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "base/ip_network.h"
#include "base/limits.h"
#include "mailauth/disposition.h"
#include "smtp/path.h"
#include "uring/engine_choice.h"

namespace mxring::server {

// What happens when groups keep more of the log than they may.
enum class HoldFull : std::uint8_t { kRefuse, kDrop };

enum class SyncMode : std::uint8_t { kCommit, kNone };
enum class JournalFormat : std::uint8_t { kJson, kLogfmt };

// What happens to mail whose From names no domain at all.
enum class NoAuthor : std::uint8_t {
  kBounces,  // accepted with a null reverse-path
  kReject,
  kAccept,
};

struct PolicyFiles;

struct Config {
  std::string hostname;  // empty: the system's host name
  std::string user;      // started as root: whom to become; empty: stay
  bool confine = true;   // Landlock and seccomp
  std::string file;      // where it was read from; empty: nowhere

  struct Listen {
    std::vector<base::Endpoint> smtp;      // [listen] smtp
    std::vector<base::Endpoint> smtps;     // [listen] smtps
    std::string admin;                     // "" = off, else ADDR:PORT
    std::string admin_token_file;          // what shows mail needs its first line; "" = unix: only
    std::vector<std::string> admin_names;  // further names that Host may have
    std::string control;                   // a socket's path; "" = see server/control.h
    // Of whom a connection begins with a PROXY header, and whose XCLIENT is believed.
    std::vector<base::IpNetwork> proxy;
    std::vector<base::IpNetwork> xclient;
  } listen;

  struct Shards {
    std::uint32_t count = 0;  // 0 = chosen from the cores this process may use
    bool pin = true;
    uring::EngineChoice engine = uring::EngineChoice::kAuto;
    std::uint32_t buffer_bytes = 16 * 1024;   // one receive buffer
    std::uint32_t buffers_offered = 256;      // of them in the kernel's ring at a time
    std::uint32_t submission_entries = 1024;  // depth of the ring's two queues
    std::uint32_t completion_entries = 8192;
  } shards;

  struct Log {
    std::string dir = "./mxring-log";
    std::uint64_t segment_bytes = 256ULL << 20;
    SyncMode sync = SyncMode::kCommit;
    std::uint64_t retain_bytes = 0;
    std::int64_t retain_age_ns = 0;
    std::uint64_t scrub_rate = 4ULL << 20;  // bytes verified in a second; 0 = never
    std::int64_t commit_window_ns = 0;      // wait this long for more messages before a commit
  } log;

  struct Groups {
    std::uint64_t hold_bytes = 0;
    HoldFull on_hold_full = HoldFull::kRefuse;
  } groups;
  struct Tls {
    // A PEM file with the chain, one with the key; both empty = a self-signed certificate.
    std::string certificate;
    std::string key;
    // Further ones, chosen by the name that the client asks for.
    struct Files {
      std::string certificate;
      std::string key;
    };
    std::vector<Files> certificates;  // [[tls.certificates]]
    std::string minimum = "1.2";
    bool starttls = true;  // offered on listen.smtp
    bool tickets = true;
    std::int64_t ticket_rotation_ns = 12LL * 3600 * 1'000'000'000;
  } tls;

  struct Dns {
    std::vector<base::Endpoint> servers;  // empty = system resolver
    std::int64_t timeout_ns = 5'000'000'000;
  } dns;

  struct Auth {
    bool spf = true;
    bool dkim = true;
    bool dmarc = true;
    mailauth::Disposition on_dmarc_reject = mailauth::Disposition::kReject;
    mailauth::Disposition on_dmarc_quarantine = mailauth::Disposition::kQuarantine;
    mailauth::Disposition on_dmarc_temperror = mailauth::Disposition::kQuarantine;
    NoAuthor on_no_author = NoAuthor::kBounces;
  } auth;

  struct Journal {
    std::string to = "stderr";  // or a file's path; "" = off
    JournalFormat format = JournalFormat::kJson;
    bool accepted = false;
    std::uint32_t rate = 1000;  // lines a second
  } journal;

  struct Recipients {
    std::vector<std::string> domains;  // lower-case A-labels; empty = accept every domain
    std::string file;                  // one a line; with it each recipient needs a line
    std::vector<std::string> journal;  // lines of a file; at these nothing is refused for good
    std::string extension = "+";       // characters that end what is compared of a local part
  } recipients;

  // Leniencies: those of the dialogue, and two of messages.
  struct Syntax : smtp::Leniency {
    bool from_line = true;   // an mbox "From " line on top is left out by readers
    bool no_header = false;  // a message without any header field
  } syntax;

  struct Access {
    std::string file;                // rules, the first that matches wins
    std::vector<std::string> dnsbl;  // "zone" or "zone=127.0.0.2/31", see BlockList
  } access;

  // For those who read the mail (`mxring decode -c`, the relay); receiving does not look at it.
  struct Decode {
    std::vector<std::string> bounce_tokens;  // decode::TokenPattern
  } decode;

  base::Limits limits;

  // What `recipients` and `access` name, read by load_config(); null where no file was loaded.
  std::shared_ptr<const PolicyFiles> policy_files;

  // Where each key was set, "limits.message_size" -> "mxring.toml:12:1", so that a check of the
  // whole can still point at a line. A variable or a flag names itself; defaults are not here.
  std::map<std::string, std::string> set_at;
};

// Whether anything in it asks DNS.
inline bool asks_dns(const Config& config) {
  return config.auth.spf || config.auth.dkim || config.auth.dmarc || !config.access.dnsbl.empty();
}

// "mxring.toml:12:3: unknown key \"lisen\"; did you mean \"listen\"?": one line for each mistake,
// in the order of the file.
struct ConfigError {
  std::string message;
};

struct ConfigMistake {
  std::string key;   // "limits.message_size"; "" when it is about no known key
  std::string text;  // with its place
};

// A configuration as far as it could be read: what is wrong keeps its default, and is listed.
struct ConfigDraft {
  Config config;
  std::vector<ConfigMistake> mistakes;
  bool read = true;  // false: nothing is known of what the file would have said
};

// Parses TOML text laid over the defaults. `file` is only for messages. A file that is no TOML has
// one mistake, its first.
ConfigDraft read_config(std::string_view text, std::string_view file);

// The file ("" = none) over the defaults, and this process's environment over the file.
ConfigDraft read_config_file(const std::string& file);

// The same for those who want a whole configuration or none.
std::expected<Config, ConfigError> parse_config(std::string_view text, std::string_view file);
std::expected<Config, ConfigError> load_config(const std::string& file);

// "192.0.2.53" (port 53) or "192.0.2.53:5353": [dns] servers and --resolver.
std::optional<base::Endpoint> parse_resolver(std::string_view text);

// Checks of the whole that a key alone cannot fail (server/config_rules.cc): limits that disagree,
// a segment smaller than a message, no listener, addresses that collide. All mistakes.
std::expected<void, ConfigError> validate(const Config& config);
// And those of the draft in front of them; what depends on a key that could not be read is left
// out.
std::expected<void, ConfigError> validate(const ConfigDraft& draft);

// Safe defaults without a file: 127.0.0.1:2525, TLS on 127.0.0.1:4650, log in ./mxring-log. Whoever
// names a listener means it: listen.smtp without listen.smtps is no TLS listener.
Config default_config();

// One key and its value as TOML that parse_config() reads back.
struct ShownKey {
  std::string_view section;  // "" = top level
  std::string_view name;
  std::string value;

  std::string path() const {
    return section.empty() ? std::string(name) : std::string(section) + '.' + std::string(name);
  }
};
std::vector<ShownKey> shown_keys(const Config& config);

// The whole configuration as TOML that parse_config() reads back; `explain` adds a comment with
// the meaning and the kind of value above every key.
std::string to_toml(const Config& config, bool explain);

}  // namespace mxring::server
