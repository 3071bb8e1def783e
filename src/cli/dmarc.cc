// `mxring dmarc`: which policy mail from a domain falls under (RFC 9989), found step by step, and
// what that means for given authenticated domains.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "dns/ask.h"
#include "mail/idna.h"
#include "mailauth/disposition.h"
#include "mailauth/dmarc/evaluator.h"

namespace mxring::cli {

namespace {

namespace dmarc = mailauth::dmarc;
using mailauth::Result;

struct DmarcOptions {
  std::string from;
  std::vector<std::string> spf_pass;
  std::vector<std::string> dkim_pass;
  ResolverArgument resolver;
  bool json = false;
};

// Of the policy search alone, before anything is aligned.
std::string_view status_of(const dmarc::Outcome& outcome) {
  switch (outcome.result) {
    case Result::kNone:
      return "none";
    case Result::kPermerror:
      return "unusable";
    case Result::kTemperror:
      return outcome.record_found ? "found" : "temperror";
    default:
      return "found";
  }
}

std::string_view disposition_of(const dmarc::Outcome& outcome) {
  return mailauth::word(mailauth::decide(&outcome, {}));
}

std::string outcome_json(const dmarc::Evaluator& evaluator) {
  const dmarc::Outcome& outcome = evaluator.outcome();
  base::JsonWriter json;
  json.begin_object();
  json.key("from_domain").value(outcome.from_domain);
  json.key("status").value(status_of(outcome));
  json.key("record").value(outcome.record);
  json.key("record_domain").value(outcome.record_domain);
  json.key("organizational_domain").value(outcome.organizational_domain);
  json.key("policy").value(dmarc::word(outcome.policy));
  json.key("published_policy").value(dmarc::word(outcome.published_policy));
  json.key("subdomain_policy").value(dmarc::word(outcome.subdomain_policy));
  json.key("np").value(dmarc::word(outcome.np));
  json.key("testing").value(outcome.testing);
  json.key("result").value(mailauth::word(outcome.result));
  json.key("disposition").value(disposition_of(outcome));
  json.key("aligned_spf").value(outcome.aligned_spf);
  json.key("aligned_dkim").value(outcome.aligned_dkim);
  json.key("problem").value(outcome.problem);
  json.key("walk").begin_array();
  for (const dmarc::WalkStep& step : evaluator.walk()) {
    json.begin_object();
    json.key("domain").value(step.domain);
    json.key("name").value(step.name);
    json.key("status").value(dns::status_word(step.status));
    json.key("record").value(step.record);
    json.key("note").value(step.note);
    json.key("repeated").value(step.repeated);
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

std::string walk_text(const std::vector<dmarc::WalkStep>& steps) {
  std::string out;
  std::string domain;
  int number = 0;
  for (const dmarc::WalkStep& step : steps) {
    if (step.domain != domain || number == 0) {
      domain = step.domain;
      number = 0;
      out += fmt::format("walk from {}\n", base::escaped(domain));
    }
    out += fmt::format("  {}. {}  ({}{})\n", ++number, step.name, dns::status_word(step.status),
                       step.repeated ? ", asked before" : "");
    if (!step.record.empty()) out += fmt::format("     {}\n", base::escaped(step.record));
    if (!step.note.empty()) out += fmt::format("     {}\n", step.note);
  }
  return out;
}

// Which of the record's policies it is, and why.
std::string policy_text(const dmarc::Outcome& outcome) {
  std::string out(dmarc::word(outcome.policy));
  if (outcome.record_domain == outcome.from_domain) {
    out += ", by p: the record is the From domain's own";
  } else if (outcome.nonexistent) {
    out += ", by np: the From domain does not exist";
  } else {
    out += ", by sp, or p where there is none: the From domain is below the record's";
  }
  if (outcome.testing && outcome.policy != outcome.published_policy) {
    out += fmt::format("; {} is published, t=y asks for one level less",
                       dmarc::word(outcome.published_policy));
  }
  return out;
}

std::string outcome_text(const dmarc::Evaluator& evaluator) {
  const dmarc::Outcome& outcome = evaluator.outcome();
  std::string out = walk_text(evaluator.walk()) + '\n';
  const auto row = [&](std::string_view name, std::string_view value) {
    if (!value.empty()) out += fmt::format("{:<21}  {}\n", name, base::escaped(value));
  };
  row("From domain", outcome.from_domain);
  row("organizational domain", outcome.organizational_domain);
  const bool searched = outcome.record_found || outcome.result == Result::kNone;
  row("record", outcome.record_found ? std::string_view(outcome.record)
                : searched           ? "none"
                                     : "not known");
  if (outcome.record_found) row("found at", "_dmarc." + outcome.record_domain);
  if (outcome.record_found && outcome.result != Result::kPermerror) {
    row("policy", policy_text(outcome));
    row("subdomains", dmarc::word(outcome.subdomain_policy));
    row("names not in DNS", dmarc::word(outcome.np));
  }
  row("aligned by SPF", outcome.aligned_spf);
  row("aligned by DKIM", outcome.aligned_dkim);
  row("result", mailauth::word(outcome.result));
  // It is escaped already.
  if (!outcome.problem.empty()) out += fmt::format("{:<21}  {}\n", "problem", outcome.problem);
  row("disposition", disposition_of(outcome));
  return out;
}

// The domain in A-labels; of an address its domain. Nothing after saying why.
std::optional<std::string> domain_argument(std::string_view option, std::string_view text) {
  const std::string_view domain = text.substr(text.rfind('@') + 1);
  mail::DomainBuffer buffer;
  const auto ascii = mail::to_a_labels(domain, buffer);
  if (ascii && dns::Name::parse(*ascii)) return std::string(*ascii);
  complain(fmt::format("{} {}: not a domain name", option, base::escaped(text)));
  return std::nullopt;
}

int run_dmarc(const DmarcOptions& options) {
  const auto from = domain_argument("--from", options.from);
  if (!from) return kUsage;
  std::vector<std::string> domains;
  std::vector<dmarc::Authenticated> passes;
  domains.reserve(options.spf_pass.size() + options.dkim_pass.size());
  using Method = dmarc::Authenticated::Method;
  for (const Method method : {Method::kSpf, Method::kDkim}) {
    const bool spf = method == Method::kSpf;
    for (const std::string& text : spf ? options.spf_pass : options.dkim_pass) {
      auto domain = domain_argument(spf ? "--spf-pass" : "--dkim-pass", text);
      if (!domain) return kUsage;
      domains.push_back(std::move(*domain));
      passes.push_back({.method = method, .domain = domains.back()});
    }
  }
  int exit_code = kDone;
  const auto resolver = open_resolver(options.resolver, exit_code);
  if (!resolver) return exit_code;
  const base::Limits limits;
  dmarc::Evaluator evaluator(limits);
  evaluator.begin(*from);
  evaluator.authenticated(passes);
  dns::ask_until_done(evaluator, *resolver, base::read_clocks().mono, limits.dns_time_ns);
  Output output;
  output.write(options.json ? outcome_json(evaluator) : outcome_text(evaluator));
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_dmarc(CLI::App& program, Commands& commands) {
  CLI::App* dmarc = program.add_subcommand("dmarc", "Find and apply a domain's DMARC policy");
  const auto options = std::make_shared<DmarcOptions>();
  dmarc->add_option("--from", options->from, "The domain of the From field")->required();
  dmarc->add_option("--spf-pass", options->spf_pass, "A domain that SPF has passed; repeatable")
      ->allow_extra_args(false);
  dmarc
      ->add_option("--dkim-pass", options->dkim_pass,
                   "The d= of a signature that has passed; repeatable")
      ->allow_extra_args(false);
  add_resolver(*dmarc, options->resolver);
  dmarc->add_flag("--json", options->json, "One JSON object");
  dmarc->footer(
      "Shows the DNS tree walk of RFC 9989 step by step. Without --spf-pass and --dkim-pass the\n"
      "result is that of mail nobody has authenticated.\n"
      "The exit code is 0 for every result.");
  commands.push_back({dmarc, [options] { return run_dmarc(*options); }});
}

}  // namespace mxring::cli
