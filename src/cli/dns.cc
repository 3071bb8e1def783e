// `mxring dns lookup` and `mxring dns mx`: what DNS says, as the receiver would see it.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <random>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "dns/ask.h"
#include "dns/mail_hosts.h"
#include "dns/transcript.h"

namespace mxring::cli {

namespace {

struct DnsOptions {
  std::string name;
  std::string type;
  ResolverArgument resolver;
  bool json = false;
};

// One record as columns: a preference for MX, and the value as text that is safe to print.
struct Line {
  std::string preference;
  std::string value;
};

std::vector<Line> lines_of(const dns::Answer& answer) {
  std::vector<Line> lines;
  for (const auto& address : answer.addresses) lines.push_back({"", address.to_string()});
  for (const auto& text : answer.texts) lines.push_back({"", dns::quoted(text)});
  for (const auto& name : answer.names) lines.push_back({"", name.to_text()});
  for (const auto& [preference, name] : answer.exchangers) {
    lines.push_back({std::to_string(preference), name.to_text()});
  }
  return lines;
}

void write_answers(base::JsonWriter& json, const dns::Answer& answer) {
  const auto begin = [&] { json.begin_object().key("ttl").value(answer.ttl_s); };
  for (const auto& address : answer.addresses) {
    begin();
    json.key("value").value(address.to_string()).end_object();
  }
  for (const auto& text : answer.texts) {
    begin();
    json.key("value").value(text).end_object();
  }
  for (const auto& name : answer.names) {
    begin();
    json.key("value").value(name.to_text()).end_object();
  }
  for (const auto& [preference, name] : answer.exchangers) {
    begin();
    json.key("preference").value(std::uint32_t{preference});
    json.key("value").value(name.to_text()).end_object();
  }
}

std::string lookup_json(const dns::Question& question, const dns::Answer& answer) {
  base::JsonWriter json;
  json.begin_object().key("name").value(question.name.to_text());
  json.key("type").value(dns::type_word(question.type));
  json.key("status").value(dns::status_word(answer.status));
  json.key("aliases").begin_array();
  for (const dns::Name& alias : answer.aliases) json.value(alias.to_text());
  json.end_array().key("answers").begin_array();
  write_answers(json, answer);
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

// Who was asked and how long that took, for a question without an answer.
struct Asked {
  std::string servers;
  std::int64_t ns = 0;
};

std::string failure(std::string_view status, const Asked& asked) {
  return fmt::format("{} from {} after {}", status, asked.servers, base::format_duration(asked.ns));
}

std::string lookup_table(const dns::Question& question, const dns::Answer& answer,
                         const Asked& asked) {
  std::string out;
  std::string owner = question.name.to_text();
  for (const dns::Name& alias : answer.aliases) {
    const std::string target = alias.to_text();
    out += fmt::format("{} is an alias of {}\n", owner, target);
    owner = target;
  }
  const std::string_view type = dns::type_word(question.type);
  if (answer.status != dns::Status::kAnswer) {
    const std::string_view status = dns::status_word(answer.status);
    return out + fmt::format("{} {}: {}\n", owner, type,
                             answer.is_failure() ? failure(status, asked) : std::string(status));
  }
  for (const Line& line : lines_of(answer)) {
    out += fmt::format("{}  {}  {:>5}  {}{}\n", owner, type, answer.ttl_s,
                       line.preference.empty() ? "" : line.preference + "  ", line.value);
  }
  return out;
}

// A person asks for the name of an address as readily as for the addresses of a name.
std::optional<dns::Question> question_of(const DnsOptions& options) {
  const auto type = dns::type_from_word(options.type);
  if (!options.type.empty() && !type) {
    complain(
        fmt::format("{}: not one of A, AAAA, MX, TXT, PTR, CNAME", base::escaped(options.type)));
    return std::nullopt;
  }
  if (const auto address = base::IpAddress::parse(options.name)) {
    if (!type || *type == dns::Type::kPtr) {
      return dns::Question{dns::Name::reverse(*address), dns::Type::kPtr};
    }
  }
  const auto name = dns::Name::parse_escaped(options.name);
  if (!name) {
    complain(fmt::format("{}: not a domain name", base::escaped(options.name)));
    return std::nullopt;
  }
  return dns::Question{*name, type.value_or(dns::Type::kA)};
}

int print(const std::string& text) {
  Output output;
  output.write(text);
  output.flush();
  return output.failed() ? kFailed : kDone;
}

int run_lookup(const DnsOptions& options) {
  const auto question = question_of(options);
  if (!question) return kUsage;
  int exit_code = kDone;
  const auto resolver = open_resolver(options.resolver, exit_code);
  if (!resolver) return exit_code;
  const base::MonoTime begin = base::read_clocks().mono;
  const dns::AnswerPtr answer = resolver->ask(*question);
  const Asked asked{servers_asked(options.resolver), base::read_clocks().mono - begin};
  const int printed = print(options.json ? lookup_json(*question, *answer)
                                         : lookup_table(*question, *answer, asked));
  return answer->is_failure() ? kFailed : printed;
}

std::string mx_json(const dns::Name& domain, const dns::MailHosts& hosts) {
  base::JsonWriter json;
  json.begin_object().key("domain").value(domain.to_text());
  json.key("status").value(dns::mail_hosts_word(hosts.status()));
  json.key("exchangers").begin_array();
  for (const dns::MailHost& host : hosts.hosts()) {
    json.begin_object().key("preference").value(std::uint32_t{host.preference});
    json.key("name").value(host.name.to_text()).key("addresses").begin_array();
    for (const auto& address : host.addresses) json.value(address.to_string());
    json.end_array().end_object();
  }
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

std::string mx_words(dns::MailHostsStatus status) {
  switch (status) {
    case dns::MailHostsStatus::kFallback:
      return "no MX record: mail goes to the domain's own addresses";
    case dns::MailHostsStatus::kNullMx:
      return "takes no mail (null MX, RFC 7505)";
    case dns::MailHostsStatus::kNoHost:
      return "takes no mail: neither MX records nor addresses";
    default:
      return std::string(dns::mail_hosts_word(status));
  }
}

bool has_failed(const dns::MailHosts& hosts) {
  return hosts.status() == dns::MailHostsStatus::kServerFailure ||
         hosts.status() == dns::MailHostsStatus::kTimeout;
}

std::string mx_table(const dns::Name& domain, const dns::MailHosts& hosts, const Asked& asked) {
  std::string out;
  if (hosts.status() != dns::MailHostsStatus::kExchangers) {
    const std::string words = mx_words(hosts.status());
    out += fmt::format("{}: {}\n", domain.to_text(),
                       has_failed(hosts) ? failure(words, asked) : words);
  }
  for (const dns::MailHost& host : hosts.hosts()) {
    std::string addresses;
    for (const auto& address : host.addresses) {
      addresses += (addresses.empty() ? "" : ", ") + address.to_string();
    }
    out += fmt::format("{:>5}  {}  {}\n", host.preference, host.name.to_text(),
                       addresses.empty() ? "no address" : addresses);
  }
  return out;
}

int run_mx(const DnsOptions& options) {
  const auto domain = dns::Name::parse_escaped(options.name);
  if (!domain || domain->is_root()) {
    complain(fmt::format("{}: not a domain name", base::escaped(options.name)));
    return kUsage;
  }
  int exit_code = kDone;
  const auto resolver = open_resolver(options.resolver, exit_code);
  if (!resolver) return exit_code;
  const base::MonoTime begin = base::read_clocks().mono;
  dns::MailHosts hosts(*domain, std::random_device{}());
  dns::ask_until_done(hosts, *resolver, begin, base::Limits().dns_time_ns);
  const Asked asked{servers_asked(options.resolver), base::read_clocks().mono - begin};
  const int printed =
      print(options.json ? mx_json(*domain, hosts) : mx_table(*domain, hosts, asked));
  return has_failed(hosts) ? kFailed : printed;
}

}  // namespace

void add_dns(CLI::App& program, Commands& commands) {
  CLI::App* dns = program.add_subcommand("dns", "Ask DNS as the receiver does");
  dns->require_subcommand(0, 1);
  const auto add = [&](CLI::App* command, const std::shared_ptr<DnsOptions>& options) {
    add_resolver(*command, options->resolver);
    command->add_flag("--json", options->json, "One JSON object");
  };

  CLI::App* lookup = dns->add_subcommand("lookup", "Records of a name, or the name of an address");
  const auto asked = std::make_shared<DnsOptions>();
  lookup->add_option("NAME", asked->name, "A domain name or an address")->required();
  lookup->add_option("TYPE", asked->type, "A (the default), AAAA, MX, TXT, PTR or CNAME");
  add(lookup, asked);
  commands.push_back({lookup, [asked] { return run_lookup(*asked); }});

  CLI::App* mx = dns->add_subcommand("mx", "Where mail for a domain goes, in delivery order");
  const auto domain = std::make_shared<DnsOptions>();
  mx->add_option("DOMAIN", domain->name, "The part after the @")->required();
  add(mx, domain);
  commands.push_back({mx, [domain] { return run_mx(*domain); }});

  commands.push_back({dns, [dns] { return ask_for_command(*dns); }});
}

}  // namespace mxring::cli
