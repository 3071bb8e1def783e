// `mxring spf`: may this address send mail for that domain (RFC 7208)?
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "dns/ask.h"
#include "mailauth/spf/evaluator.h"

namespace mxring::cli {

namespace {

namespace spf = mailauth::spf;

struct SpfOptions {
  std::string ip;
  std::string mail_from;
  std::string helo;
  std::string receiver = "unknown";
  ResolverArgument resolver;
  bool json = false;
};

std::string outcome_json(const spf::Outcome& outcome) {
  base::JsonWriter json;
  json.begin_object();
  json.key("result").value(mailauth::word(outcome.result));
  json.key("identity").value(spf::word(outcome.identity));
  json.key("domain").value(outcome.domain);
  json.key("mechanism").value(outcome.mechanism);
  json.key("lookups").value(outcome.lookups);
  json.key("voids").value(outcome.voids);
  json.key("explanation").value(outcome.explanation);
  json.key("problem").value(outcome.problem);
  json.key("questions").value(outcome.questions);
  json.end_object();
  return std::move(json).text() + '\n';
}

std::string outcome_table(const spf::Outcome& outcome) {
  std::string out = fmt::format("result       {}\n", mailauth::word(outcome.result));
  const auto row = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) out += fmt::format("{:<11}  {}\n", name, base::escaped(value));
  };
  row("identity", spf::word(outcome.identity));
  row("domain", outcome.domain);
  row("mechanism", outcome.mechanism);
  out += fmt::format("lookups      {} of 10, {} of them found nothing; {}\n", outcome.lookups,
                     outcome.voids, base::counted(outcome.questions, "DNS question"));
  row("explanation", outcome.explanation);
  // It is escaped already.
  if (!outcome.problem.empty()) out += fmt::format("problem      {}\n", outcome.problem);
  return out;
}

int run_spf(const SpfOptions& options) {
  const auto client = base::IpAddress::parse(options.ip);
  if (!client) {
    complain(fmt::format("--ip {}: not an address", base::escaped(options.ip)));
    return kUsage;
  }
  int exit_code = kDone;
  const auto resolver = open_resolver(options.resolver, exit_code);
  if (!resolver) return exit_code;
  std::string_view mail_from = options.mail_from;
  if (mail_from == "<>") mail_from = {};
  const base::Limits limits;
  const base::Now started = base::read_clocks();
  spf::Evaluator evaluator(limits);
  evaluator.begin({.client = *client,
                   .mail_from = mail_from,
                   .helo = options.helo,
                   .receiver = options.receiver,
                   .now_unix_s = started.wall.us / 1'000'000,
                   .explain = true});
  dns::ask_until_done(evaluator, *resolver, started.mono, limits.dns_time_ns);
  Output output;
  output.write(options.json ? outcome_json(evaluator.outcome())
                            : outcome_table(evaluator.outcome()));
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_spf(CLI::App& program, Commands& commands) {
  CLI::App* spf = program.add_subcommand("spf", "Check an address against a domain's SPF record");
  const auto options = std::make_shared<SpfOptions>();
  spf->add_option("--ip", options->ip, "The client's address")->required();
  spf->add_option("--mail-from", options->mail_from,
                  "The reverse-path; \"\" or \"<>\" checks the HELO name")
      ->required()
      ->expected(0, 1);  // CLI11 takes "--mail-from=" for an option without a value
  spf->add_option("--helo", options->helo, "The name the client gave at HELO")->required();
  spf->add_option("--receiver", options->receiver, "Our name, for explanations that show it")
      ->capture_default_str();
  add_resolver(*spf, options->resolver);
  spf->add_flag("--json", options->json, "One JSON object");
  spf->footer(
      "The result is a word of RFC 8601: none, neutral, pass, fail, softfail, temperror or "
      "permerror.\nThe exit code is 0 for each of them.");
  commands.push_back({spf, [options] { return run_spf(*options); }});
}

}  // namespace mxring::cli
