// `mxring policy check`: what a configuration decides about one recipient, without a connection,
// and which line of which file it is that decides.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <tuple>
#include <vector>

#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "server/block_list.h"
#include "server/config.h"
#include "server/line_file.h"
#include "server/policy.h"
#include "server/policy_files.h"
#include "smtp/reply.h"

namespace mxring::cli {

namespace {

struct PolicyOptions {
  std::string file;
  std::string client;
  std::string helo;
  std::string sender;
  std::string recipient;
  std::string via;
  ResolverArgument resolver;
  bool json = false;
};

// What a block list says of the client.
struct Listing {
  const server::BlockList* list;
  server::BlockList::Reading reading;
};

std::string_view word(server::BlockList::Reading reading) {
  using Reading = server::BlockList::Reading;
  if (reading == Reading::kListed) return "listed";
  return reading == Reading::kNotListed ? "not_listed" : "no_use";
}

// As the server asks them.
std::vector<Listing> ask_lists(std::span<const server::BlockList> lists,
                               const base::IpAddress& client, dns::BlockingResolver& resolver) {
  using Reading = server::BlockList::Reading;
  std::vector<Listing> found;
  for (const server::BlockList& list : lists) {
    Reading reading = Reading::kNoUse;
    const auto asked = list.question(client);
    const auto control = list.control_question(client);
    if (asked && control) {
      reading = list.read(*resolver.ask(*asked));
      const bool names_the_world = list.read(*resolver.ask(*control)) == Reading::kListed;
      if (names_the_world) reading = Reading::kNoUse;
    }
    found.push_back({&list, reading});
  }
  return found;
}

// The line on which a key was set, of "mxring.toml:12:1".
std::uint64_t line_of(const server::Config& config, const std::string& key) {
  const auto at = config.set_at.find(key);
  if (at == config.set_at.end()) return 0;
  const std::size_t column = at->second.rfind(':');
  if (column == std::string::npos) return 0;  // in no file, but in the environment
  const std::size_t line = at->second.rfind(':', column - 1);
  return std::strtoull(at->second.c_str() + line + 1, nullptr, 10);
}

// Whether the peer of the TCP connection may say who the client is.
struct Via {
  std::string ip;
  bool proxy = false;
  bool xclient = false;
};

// The line that decides; `line` 0: no line of a file does.
struct Deciding {
  std::string file;
  std::uint64_t line = 0;
};

// A recipient file keeps fingerprints and no lines: it is read once more.
Deciding deciding_recipient_line(const server::Config& config, const std::string& recipient) {
  Deciding found;
  if (config.recipients.file.empty()) return found;
  std::uint64_t number = 0;
  const auto read = server::for_each_line(
      config.recipients.file, server::Recipients::kLineBytesMax,
      [&](std::string_view line) -> std::expected<void, server::FileError> {
        ++number;
        if (found.line == 0 &&
            server::Recipients::line_matches(line, recipient, config.recipients.extension)) {
          found = {config.recipients.file, number};
        }
        return {};
      });
  return read ? found : Deciding{};
}

std::string_view decision_word(const std::optional<smtp::Reply>& refusal) {
  if (!refusal) return "accept";
  return refusal->is_temporary() ? "tempfail" : "refuse";
}

struct Decision {
  std::optional<smtp::Reply> refusal;
  std::string reply;
  std::string reply_text;  // where the reply's own words lie
  Deciding deciding;
  std::vector<Listing> listings;
  std::optional<Via> via;
};

void write_json(Output& output, const Decision& decision) {
  base::JsonWriter json;
  json.begin_object();
  json.key("decision").value(decision_word(decision.refusal));
  json.key("reply").value(decision.reply);
  json.key("rule");
  if (decision.deciding.line == 0) {
    json.null();
  } else {
    json.begin_object();
    json.key("file").value(decision.deciding.file);
    json.key("line").value(decision.deciding.line);
    json.end_object();
  }
  json.key("lists").begin_array();
  for (const Listing& listing : decision.listings) {
    json.begin_object();
    json.key("zone").value(listing.list->zone());
    json.key("answer").value(word(listing.reading));
    json.end_object();
  }
  json.end_array();
  json.key("via");
  if (!decision.via) {
    json.null();
  } else {
    json.begin_object();
    json.key("ip").value(decision.via->ip);
    json.key("proxy").value(decision.via->proxy);
    json.key("xclient").value(decision.via->xclient);
    json.end_object();
  }
  json.end_object();
  output.write(json.text() + "\n");
}

void write_text(Output& output, const Decision& decision) {
  output.write(fmt::format("decision  {}\nreply     {}\n", decision_word(decision.refusal),
                           base::escaped(decision.reply)));
  output.write(decision.deciding.line == 0
                   ? std::string("rule      no line of a file decides\n")
                   : fmt::format("rule      {}:{}\n", base::escaped(decision.deciding.file),
                                 decision.deciding.line));
  for (const Listing& listing : decision.listings) {
    using Reading = server::BlockList::Reading;
    const std::string_view what = listing.reading == Reading::kListed ? "the client is on it"
                                  : listing.reading == Reading::kNotListed
                                      ? "the client is not on it"
                                      : "no answer of use; it refuses nobody";
    output.write(fmt::format("list      {}: {}\n", listing.list->zone(), what));
  }
  if (!decision.via) return;
  const Via& via = *decision.via;
  const std::string_view what =
      via.proxy && via.xclient ? "a PROXY header must come first, and XCLIENT is believed"
      : via.proxy              ? "a PROXY header must come first (listen.proxy)"
      : via.xclient            ? "XCLIENT is believed (listen.xclient)"
                               : "neither a PROXY header nor XCLIENT is believed from there";
  output.write(fmt::format("via       {}: {}\n", via.ip, what));
}

// What access rules, block lists and recipients say, in this order.
int decide(const server::Config& config, const PolicyOptions& options,
           const base::IpAddress& client, std::span<const server::BlockList> lists,
           Decision& decision) {
  std::string_view sender = options.sender;
  if (sender == "<>") sender = {};
  const server::AccessQuestion question{
      .client = client, .helo = options.helo, .sender = sender, .recipient = options.recipient};
  const server::Policy policy(config);
  const server::Policy::Ruling ruling = policy.access(question);
  if (!ruling.refusal && !lists.empty() && ruling.lists_count && server::is_asked_about(client)) {
    ResolverArgument servers = options.resolver;
    if (servers.servers.empty()) {
      for (const base::Endpoint& each : config.dns.servers) {
        servers.servers.push_back(each.to_string());
      }
    }
    int exit_code = kDone;
    const auto resolver = open_resolver(servers, exit_code);
    if (resolver == nullptr) return exit_code;
    decision.listings = ask_lists(lists, client, *resolver);
  }
  const auto listed =
      std::ranges::find(decision.listings, server::BlockList::Reading::kListed, &Listing::reading);
  const server::Access::Rule* rule = config.policy_files->access.find(question);
  if (ruling.refusal) {
    decision.refusal = ruling.refusal;
  } else if (listed != decision.listings.end()) {
    decision.refusal =
        server::Policy::listed(*listed->list, client.to_string(), decision.reply_text);
  } else {
    decision.refusal = policy.served(options.recipient);
  }
  if (ruling.refusal || (rule != nullptr && !decision.refusal)) {
    decision.deciding = {config.access.file, rule->line};
  } else if (listed != decision.listings.end()) {
    const std::uint64_t line = line_of(config, "access.dnsbl");
    if (line != 0) decision.deciding = {options.file, line};
  } else {
    decision.deciding = deciding_recipient_line(config, options.recipient);
  }
  // Words of a rule's own lie in the policy.
  decision.reply =
      to_text(decision.refusal ? *decision.refusal : smtp::Reply(smtp::replies::kRecipientOk));
  return kDone;
}

int check(const PolicyOptions& options) {
  const auto client = base::IpAddress::parse(options.client);
  const auto via = base::IpAddress::parse(options.via);
  for (const auto& [name, text, good] :
       {std::tuple{"--client", options.client, client.has_value()},
        std::tuple{"--via", options.via, options.via.empty() || via}}) {
    if (good) continue;
    complain(fmt::format("{}: \"{}\" is no IP address", name, base::escaped(text)));
    return kUsage;
  }
  const auto config = server::load_config(options.file);
  if (!config) {
    complain(config.error().message);
    return kBadConfiguration;
  }
  const std::vector<server::BlockList> lists = server::parse_block_lists(config->access.dnsbl);
  Decision decision;
  if (const int failed = decide(*config, options, *client, lists, decision); failed != kDone) {
    return failed;
  }
  if (via) {
    decision.via = Via{via->to_string(), base::find_network(config->listen.proxy, *via) != nullptr,
                       base::find_network(config->listen.xclient, *via) != nullptr};
  }
  Output output;
  options.json ? write_json(output, decision) : write_text(output, decision);
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_policy(CLI::App& program, Commands& commands) {
  CLI::App* policy = program.add_subcommand("policy", "What a configuration decides");
  CLI::App* command =
      policy->add_subcommand("check", "Whether a recipient is accepted, and which line decides");
  const auto options = std::make_shared<PolicyOptions>();
  command->add_option("-c,--config", options->file, "The configuration; none: the environment's");
  command->add_option("--client", options->client, "The client's IP address")->required();
  command->add_option("--helo", options->helo, "What it said after EHLO or HELO");
  command->add_option("--sender", options->sender, "The reverse-path; \"\" or <>: none");
  command->add_option("--recipient", options->recipient, "The forward-path")->required();
  command->add_option("--via", options->via,
                      "The balancer or proxy: says whether it may name the client");
  add_resolver(*command, options->resolver);
  command->add_flag("--json", options->json, "One JSON object");
  command->footer(
      "Access rules come first, then block lists, then recipients. Rates are not counted.\n"
      "The exit code is 0 for every decision.");
  commands.push_back({command, [options] { return check(*options); }});
  commands.push_back({policy, [policy] { return ask_for_command(*policy); }});
}

}  // namespace mxring::cli
