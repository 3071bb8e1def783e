// The kinds of values that configuration keys have: each with a name for people, a strict read()
// from TOML, and a show() whose text read() takes back. Private to what reads the
// configuration, the only files that include toml++ (it is slow to compile).
//
// Thread: any. Failure: read() leaves the value alone and notes one line in Faults.
#pragma once

#include <fmt/format.h>

// Debian's shared library has only the throwing parser.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ip_address.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "decode/token.h"
#include "mail/idna.h"
#include "server/block_list.h"
#include "server/config.h"
#include "server/config_rules.h"
#include "server/recipients.h"

namespace mxring::server {

// Collects what is wrong while a file is walked; toml++ hands tables out sorted by key, the order
// of the file is made at the end.
class Faults {
 public:
  void add(const toml::source_region& where, std::string_view key, std::string message) {
    found_.push_back({where.begin, std::string(key), std::move(message)});
  }
  // Of a value that stands in no file, but in a variable of this name.
  std::vector<ConfigMistake> take_of_variable(std::string_view name) {
    std::vector<ConfigMistake> all;
    for (Fault& fault : found_) {
      all.push_back({std::move(fault.key), fmt::format("{}: {}", name, fault.message)});
    }
    return all;
  }
  // In the order of the file, each with its place.
  std::vector<ConfigMistake> take(std::string_view file) {
    std::ranges::stable_sort(found_, [](const Fault& a, const Fault& b) {
      return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
    });
    std::vector<ConfigMistake> all;
    for (Fault& fault : found_) {
      all.push_back({std::move(fault.key), fmt::format("{}:{}:{}: {}", file, fault.at.line,
                                                       fault.at.column, fault.message)});
    }
    return all;
  }

 private:
  struct Fault {
    toml::source_position at;
    std::string key;
    std::string message;
  };
  std::vector<Fault> found_;
};

// What a kind's read() needs to name the value it refuses.
struct Reading {
  std::string_view key;  // "limits.recipients"
  Faults& faults;

  void refuse(const toml::node& node, std::string_view wanted) const {
    faults.add(node.source(), key, fmt::format("{} must be {}", key, wanted));
  }
};

inline std::string quoted(std::string_view text) {
  // TOML's escapes are JSON's, and what steers a terminal is escaped as there.
  base::JsonWriter out;
  out.value(text);
  return std::move(out).text();
}

struct Text {
  static constexpr std::string_view kName = "text";
  static void read(const toml::node& node, std::string& out, const Reading& reading) {
    const auto* text = node.as_string();
    if (text == nullptr) return reading.refuse(node, "text in quotes");
    out = text->get();
  }
  static std::string show(const std::string& value) { return quoted(value); }
};

struct Hostname : Text {
  static constexpr std::string_view kName = "host name";
  static void read(const toml::node& node, std::string& out, const Reading& reading) {
    const auto* text = node.as_string();
    if (text == nullptr || (!text->get().empty() && !is_domain(text->get()))) {
      return reading.refuse(node, "a host name such as \"mx.example.org\"");
    }
    out = text->get();
  }
};

struct Flag {
  static constexpr bool kBare = true;
  static constexpr std::string_view kName = "true or false";
  static void read(const toml::node& node, bool& out, const Reading& reading) {
    const auto* flag = node.as_boolean();
    if (flag == nullptr) return reading.refuse(node, kName);
    out = flag->get();
  }
  static std::string show(bool value) { return value ? "true" : "false"; }
};

template <std::uint32_t Min, std::uint32_t Max>
struct Count {
  static constexpr bool kBare = true;
  static constexpr std::string_view kName = "whole number";
  static void read(const toml::node& node, std::uint32_t& out, const Reading& reading) {
    const auto* number = node.as_integer();
    if (number == nullptr || number->get() < std::int64_t{Min} ||
        number->get() > std::int64_t{Max}) {
      return reading.refuse(node, fmt::format("a whole number from {} to {}", Min, Max));
    }
    out = static_cast<std::uint32_t>(number->get());
  }
  static std::string show(std::uint32_t value) { return fmt::format("{}", value); }
};

template <std::uint64_t Min, std::uint64_t Max>
struct Bytes {
  static constexpr std::string_view kName = "size, \"25MiB\" or bytes";
  template <class T>
  static void read(const toml::node& node, T& out, const Reading& reading) {
    static_assert(Max <= std::numeric_limits<T>::max());
    std::optional<std::uint64_t> bytes;
    if (const auto* number = node.as_integer(); number != nullptr && number->get() >= 0) {
      bytes = static_cast<std::uint64_t>(number->get());
    } else if (const auto* text = node.as_string(); text != nullptr) {
      bytes = base::parse_bytes(text->get());
    }
    if (!bytes) return reading.refuse(node, "a size such as \"25MiB\", \"64KiB\" or 4096");
    if (*bytes < Min || *bytes > Max) {
      return reading.refuse(node, fmt::format("a size from {} to {}", plain(Min), plain(Max)));
    }
    out = static_cast<T>(*bytes);
  }
  static std::string plain(std::uint64_t value) {
    constexpr std::array<std::string_view, 5> kUnits{"", "KiB", "MiB", "GiB", "TiB"};
    std::size_t unit = 0;
    while (value != 0 && value % 1024 == 0 && unit + 1 < kUnits.size()) {
      value /= 1024;
      ++unit;
    }
    return fmt::format("{}{}", value, kUnits[unit]);
  }
  static std::string show(std::uint64_t value) { return quoted(plain(value)); }
};

template <std::int64_t Min>
struct Duration {
  static constexpr std::string_view kName = "duration, \"300s\"";
  static void read(const toml::node& node, std::int64_t& out, const Reading& reading) {
    std::string given;
    if (const auto* text = node.as_string(); text != nullptr) {
      given = text->get();
    } else if (const auto* number = node.as_integer(); number != nullptr && number->get() == 0) {
      given = "0";
    }
    const std::string problem = base::duration_problem(given, Min);
    if (problem.empty()) {
      out = *base::parse_duration_ns(given);
    } else if (problem.starts_with("too")) {
      reading.refuse(node, fmt::format("a duration from {} to {}", base::plain_duration(Min),
                                       base::plain_duration(base::kDurationMaxNs)));
    } else {
      reading.refuse(node, "a duration such as \"250ms\", \"30s\" or \"7d\"");
    }
  }
  static std::string show(std::int64_t ns) { return quoted(base::plain_duration(ns)); }
};

template <class T, class ReadOne>
void read_list(const toml::node& node, std::vector<T>& out, const Reading& reading,
               std::string_view wanted, ReadOne&& read_one) {
  const toml::array* list = node.as_array();
  if (list == nullptr) return reading.refuse(node, fmt::format("a list: [{}]", wanted));
  out.clear();
  for (const toml::node& element : *list) {
    const auto* text = element.as_string();
    std::optional<T> value;
    if (text != nullptr) value = read_one(text->get());
    if (!value) return reading.refuse(element, fmt::format("a list of values like {}", wanted));
    out.push_back(*std::move(value));
  }
}

struct Endpoints {
  static constexpr std::string_view kName = "list of \"ADDRESS:PORT\"";
  static void read(const toml::node& node, std::vector<base::Endpoint>& out,
                   const Reading& reading) {
    constexpr std::string_view kLike = "\"127.0.0.1:2525\" or \"[::1]:2525\"";
    const toml::array* list = node.as_array();
    if (list == nullptr) return reading.refuse(node, fmt::format("a list: [{}]", kLike));
    out.clear();
    for (const toml::node& element : *list) {
      const auto* text = element.as_string();
      if (text == nullptr) {
        reading.refuse(element, fmt::format("a list of values like {}", kLike));
      } else if (const auto endpoint = base::Endpoint::parse(text->get()); endpoint) {
        out.push_back(*endpoint);
      } else {
        reading.faults.add(element.source(), reading.key,
                           fmt::format("{}: \"{}\": {}", reading.key, base::escaped(text->get()),
                                       base::Endpoint::advice(text->get())));
      }
    }
  }
  static std::string show(const std::vector<base::Endpoint>& value) {
    std::vector<std::string> parts;
    for (const base::Endpoint& endpoint : value) parts.push_back(quoted(endpoint.to_string()));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
};

struct Networks {
  static constexpr std::string_view kName = "list of \"NETWORK\"";
  static void read(const toml::node& node, std::vector<base::IpNetwork>& out,
                   const Reading& reading) {
    constexpr std::string_view kLike = "\"192.0.2.0/24\" or \"2001:db8::7\"";
    const toml::array* list = node.as_array();
    if (list == nullptr) return reading.refuse(node, fmt::format("a list: [{}]", kLike));
    out.clear();
    for (const toml::node& element : *list) {
      const auto* text = element.as_string();
      if (text == nullptr) {
        reading.refuse(element, fmt::format("a list of values like {}", kLike));
      } else if (auto network = base::IpNetwork::parse(text->get()); network) {
        out.push_back(*network);
      } else {
        reading.faults.add(element.source(), reading.key,
                           fmt::format("{}: {}", reading.key, network.error()));
      }
    }
  }
  static std::string show(const std::vector<base::IpNetwork>& value) {
    std::vector<std::string> parts;
    for (const base::IpNetwork& network : value) parts.push_back(quoted(network.to_string()));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
};

struct BlockListEntries {
  static constexpr std::string_view kName = "list of \"ZONE\" or \"ZONE=NETWORK\"";
  static void read(const toml::node& node, std::vector<std::string>& out, const Reading& reading) {
    constexpr std::string_view kLike = "\"bl.example\" or \"bl.example=127.0.0.2/31\"";
    const toml::array* list = node.as_array();
    if (list == nullptr) return reading.refuse(node, fmt::format("a list: [{}]", kLike));
    out.clear();
    for (const toml::node& element : *list) {
      const auto* text = element.as_string();
      if (text == nullptr) {
        reading.refuse(element, fmt::format("a list of values like {}", kLike));
        continue;
      }
      if (const auto parsed = BlockList::parse(text->get()); !parsed) {
        reading.faults.add(element.source(), reading.key,
                           fmt::format("{}: {}", reading.key, parsed.error()));
      } else if (out.size() == BlockList::kListsMax) {
        reading.faults.add(
            element.source(), reading.key,
            fmt::format("{} has more than {} lists", reading.key, BlockList::kListsMax));
        return;
      } else {
        out.push_back(text->get());
      }
    }
  }
  static std::string show(const std::vector<std::string>& value) {
    std::vector<std::string> parts;
    for (const std::string& entry : value) parts.push_back(quoted(entry));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
};

struct AdminAddress : Text {
  static constexpr std::string_view kName = "\"ADDRESS:PORT\", \"unix:PATH\" or \"\"";
  static void read(const toml::node& node, std::string& out, const Reading& reading) {
    const auto* text = node.as_string();
    if (text == nullptr || (!text->get().empty() && !is_admin_address(text->get()))) {
      return reading.refuse(
          node,
          "an address like \"127.0.0.1:9925\" or \"unix:/run/mxring/admin\", or \"\" for none");
    }
    out = text->get();
  }
};

// DNS servers: the port is optional there and only there.
struct Resolvers : Endpoints {
  static constexpr std::string_view kName = "list of \"ADDRESS\" or \"ADDRESS:PORT\"";
  static void read(const toml::node& node, std::vector<base::Endpoint>& out,
                   const Reading& reading) {
    read_list(node, out, reading, "\"192.0.2.53\" or \"[2001:db8::53]:53\"", parse_resolver);
  }
};

struct Texts {
  static constexpr std::string_view kName = "list of texts";
  static void read(const toml::node& node, std::vector<std::string>& out, const Reading& reading) {
    read_list(node, out, reading, "\"mx1.example.org\"",
              [](const std::string& text) { return std::optional(text); });
  }
  static std::string show(const std::vector<std::string>& value) {
    std::vector<std::string> parts;
    for (const std::string& text : value) parts.push_back(quoted(text));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
};

// Domain names in any script, kept as DNS has them: lower-case A-labels (RFC 5890).
struct TokenPatterns {
  static constexpr std::string_view kName = "list of patterns";
  static void read(const toml::node& node, std::vector<std::string>& out, const Reading& reading) {
    constexpr std::string_view kLike = "\"recipient: bounces+{}@*\"";
    const toml::array* list = node.as_array();
    if (list == nullptr) return reading.refuse(node, fmt::format("a list: [{}]", kLike));
    out.clear();
    for (const toml::node& element : *list) {
      const auto* text = element.as_string();
      if (text == nullptr) {
        reading.refuse(element, fmt::format("a list of patterns like {}", kLike));
        continue;
      }
      if (const auto pattern = decode::TokenPattern::parse(text->get()); !pattern) {
        reading.faults.add(element.source(), reading.key,
                           fmt::format("{}: \"{}\": {}", reading.key, base::escaped(text->get()),
                                       pattern.error()));
        continue;
      }
      out.push_back(text->get());
    }
  }
  static std::string show(const std::vector<std::string>& values) {
    std::string out;
    for (const std::string& value : values) {
      out += fmt::format("{}{}", out.empty() ? "" : ", ", quoted(value));
    }
    return fmt::format("[{}]", out);
  }
};

struct Domains {
  static constexpr std::string_view kName = "list of domains";
  static void read(const toml::node& node, std::vector<std::string>& out, const Reading& reading) {
    constexpr std::string_view kLike = "\"example.org\"";
    const toml::array* list = node.as_array();
    if (list == nullptr) return reading.refuse(node, fmt::format("a list: [{}]", kLike));
    out.clear();
    for (const toml::node& element : *list) {
      const auto* text = element.as_string();
      const std::string_view given =
          text == nullptr ? std::string_view() : std::string_view(text->get());
      mail::DomainBuffer buffer;
      const auto name = mail::to_a_labels(given, buffer);
      if (!name) {
        reading.faults.add(
            element.source(), reading.key,
            fmt::format(
                "{}: \"{}\" {}, so it has no form in DNS; write the name as DNS has it, like "
                "\"xn--kln-sna.de\" for \"köln.de\"",
                reading.key, base::escaped(given), why(name.error())));
        continue;
      }
      if (!is_domain(*name)) {
        reading.refuse(element, fmt::format("a list of values like {}", kLike));
        continue;
      }
      std::ranges::transform(*name, std::back_inserter(out.emplace_back()), base::ascii_lower);
    }
  }
  static std::string_view why(mail::IdnaError error) {
    switch (error) {
      case mail::IdnaError::kEncoding:
        return "holds an A-label that stands for nothing";
      case mail::IdnaError::kLabel:
        return "has a character or a label that no domain name may have";
      case mail::IdnaError::kTooLong:
        return "is too long for a domain name";
      case mail::IdnaError::kMemory:
        break;
    }
    return "could not be converted: no memory";
  }
  static std::string show(const std::vector<std::string>& value) {
    std::vector<std::string> parts;
    for (const std::string& domain : value) parts.push_back(quoted(domain));
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
};

struct RecipientEntries {
  static constexpr std::string_view kName = "list of \"ADDRESS\" or \"@DOMAIN\"";
  static void read(const toml::node& node, std::vector<std::string>& out, const Reading& reading) {
    read_list(node, out, reading, "\"journal@example.org\" or \"@journal.example.org\"",
              [](const std::string& text) {
                const bool good = Recipients::of(std::span(&text, 1), "").has_value();
                return good ? std::optional(text) : std::nullopt;
              });
  }
  static std::string show(const std::vector<std::string>& value) { return Texts::show(value); }
};

// [[tls.certificates]], or a list of inline tables.
struct CertificateFiles {
  static constexpr std::string_view kName = "a list of {certificate = \"FILE\", key = \"FILE\"}";
  static void read(const toml::node& node, std::vector<Config::Tls::Files>& out,
                   const Reading& reading) {
    const toml::array* list = node.as_array();
    if (list == nullptr) return reading.refuse(node, kName);
    out.clear();
    for (const toml::node& element : *list) {
      const toml::table* table = element.as_table();
      if (table == nullptr) return reading.refuse(element, kName);
      Config::Tls::Files files;
      for (const auto& [name, value] : *table) {
        std::string* target = name.str() == "certificate" ? &files.certificate
                              : name.str() == "key"       ? &files.key
                                                          : nullptr;
        if (target == nullptr) {
          reading.faults.add(name.source(), reading.key,
                             fmt::format("unknown key \"{}\" in {}; certificate and "
                                         "key belong there",
                                         base::escaped(name.str()), reading.key));
          return;
        }
        Text::read(value, *target, reading);
      }
      if (files.certificate.empty() || files.key.empty()) return reading.refuse(element, kName);
      out.push_back(std::move(files));
    }
  }
  static std::string show(const std::vector<Config::Tls::Files>& value) {
    std::vector<std::string> parts;
    for (const auto& [certificate, key] : value) {
      parts.push_back(
          fmt::format("{{certificate = {}, key = {}}}", quoted(certificate), quoted(key)));
    }
    return fmt::format("[{}]", fmt::join(parts, ", "));
  }
};

// One of a few words; the words and their values are given by the table at each use.
template <auto& Words>
struct Choice {
  // "reject", "quarantine" or "accept"
  static std::string names() {
    std::string out;
    for (std::size_t i = 0; i < Words.size(); ++i) {
      if (i > 0) out += i + 1 < Words.size() ? ", " : " or ";
      out += quoted(Words[i].name);
    }
    return out;
  }
  template <class T>
  static void read(const toml::node& node, T& out, const Reading& reading) {
    for (const auto& [name, value] : Words) {
      if (const auto* text = node.as_string(); text != nullptr && text->get() == name) {
        out = value;
        return;
      }
    }
    reading.refuse(node, names());
  }
  template <class T>
  static std::string show(const T& value) {
    for (const auto& [name, candidate] : Words) {
      if (candidate == value) return quoted(name);
    }
    return "\"\"";
  }
};

template <class T>
struct Word {
  std::string_view name;
  T value;
};

inline constexpr std::array kEngineWords{
    Word<uring::EngineChoice>{"auto", uring::EngineChoice::kAuto},
    Word<uring::EngineChoice>{"io_uring", uring::EngineChoice::kIoUring},
    Word<uring::EngineChoice>{"epoll", uring::EngineChoice::kEpoll}};
inline constexpr std::array kSyncWords{Word<SyncMode>{"commit", SyncMode::kCommit},
                                       Word<SyncMode>{"none", SyncMode::kNone}};
inline constexpr std::array kHoldFullWords{Word<HoldFull>{"refuse", HoldFull::kRefuse},
                                           Word<HoldFull>{"drop", HoldFull::kDrop}};
inline constexpr std::array kJournalWords{Word<JournalFormat>{"json", JournalFormat::kJson},
                                          Word<JournalFormat>{"logfmt", JournalFormat::kLogfmt}};
inline constexpr std::array kRejectWords{
    Word<mailauth::Disposition>{"reject", mailauth::Disposition::kReject},
    Word<mailauth::Disposition>{"quarantine", mailauth::Disposition::kQuarantine},
    Word<mailauth::Disposition>{"accept", mailauth::Disposition::kAccept}};
inline constexpr std::array kQuarantineWords{
    Word<mailauth::Disposition>{"quarantine", mailauth::Disposition::kQuarantine},
    Word<mailauth::Disposition>{"accept", mailauth::Disposition::kAccept}};
inline constexpr std::array kTemperrorWords{
    Word<mailauth::Disposition>{"accept", mailauth::Disposition::kAccept},
    Word<mailauth::Disposition>{"quarantine", mailauth::Disposition::kQuarantine},
    Word<mailauth::Disposition>{"tempfail", mailauth::Disposition::kTempfail}};
inline constexpr std::array kNoAuthorWords{Word<NoAuthor>{"bounces", NoAuthor::kBounces},
                                           Word<NoAuthor>{"reject", NoAuthor::kReject},
                                           Word<NoAuthor>{"accept", NoAuthor::kAccept}};
inline constexpr std::array kTlsWords{Word<std::string_view>{"1.2", "1.2"},
                                      Word<std::string_view>{"1.3", "1.3"}};

}  // namespace mxring::server
