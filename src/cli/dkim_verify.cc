// `mxring dkim verify`: every signature of a message, and why those that do not hold do not.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/dkim_explain.h"
#include "cli/message_file.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "dns/ask.h"
#include "mailauth/dkim/verifier.h"

namespace mxring::cli {

namespace {

namespace dkim = mailauth::dkim;

struct VerifyOptions {
  MessageArgument message;
  std::optional<std::int64_t> now;
  ResolverArgument resolver;
  bool json = false;
};

struct Report {
  const dkim::SignatureResult& signature;
  DkimExplanation explanation;
  std::string key_name;
};

std::string reports_json(const std::vector<Report>& reports, std::size_t ignored) {
  base::JsonWriter json;
  json.begin_object().key("signatures").begin_array();
  for (const Report& report : reports) {
    const dkim::SignatureResult& signature = report.signature;
    json.begin_object();
    json.key("domain").value(signature.domain);
    json.key("selector").value(signature.selector);
    json.key("algorithm").value(signature.algorithm);
    json.key("result").value(mailauth::word(signature.result));
    json.key("reason").value(signature.reason);
    json.key("identity").value(signature.identity);
    json.key("signature_start").value(signature.signature_start);
    json.key("key_name").value(report.key_name);
    json.key("key_bits").value(signature.key_bits);
    json.key("testing").value(signature.testing);
    json.key("body_bytes_signed").value(signature.body_bytes_signed);
    json.key("body_limited").value(signature.body_limited);
    json.key("covers").value(report.explanation.covers);
    json.key("hints").begin_array();
    for (const std::string& hint : report.explanation.hints) json.value(hint);
    json.end_array().end_object();
  }
  json.end_array().key("ignored").value(std::uint64_t{ignored}).end_object();
  return std::move(json).text() + '\n';
}

std::string report_text(const Report& report) {
  const dkim::SignatureResult& signature = report.signature;
  std::string out = fmt::format("result     {}\n", mailauth::word(signature.result));
  const auto row = [&out](std::string_view name, std::string_view value) {
    if (!value.empty()) out += fmt::format("{:<9}  {}\n", name, value);
  };
  // Reasons, and what explains them, are escaped already.
  row("reason", signature.reason);
  for (const std::string& hint : report.explanation.hints) row("", hint);
  row("domain", signature.domain);
  row("identity", base::escaped(signature.identity));
  row("algorithm", base::escaped(signature.algorithm));
  std::string key = report.key_name;
  if (signature.key_bits != 0) key += fmt::format(", {} bits", signature.key_bits);
  if (signature.testing) key += ", in test (t=y)";
  row("key", key);
  row("covers", report.explanation.covers);
  row("begins", base::escaped(signature.signature_start));
  return out;
}

std::string reports_text(const std::vector<Report>& reports, std::size_t ignored) {
  if (reports.empty())
    return "result     none\nreason     the message has no DKIM-Signature field\n";
  std::string out;
  for (const Report& report : reports) {
    if (!out.empty()) out += '\n';
    out += report_text(report);
  }
  if (ignored != 0) {
    out += fmt::format("\n{} not looked at\n", base::counted(ignored, "more signature"));
  }
  return out;
}

// Keys from DNS, then the body, then the signatures.
void verify(dkim::Verifier& verifier, crypto::Sha256Batch& hashes, std::string_view body,
            dns::BlockingResolver& resolver) {
  const base::Limits limits;
  dns::ask_until_done(verifier, resolver, base::read_clocks().mono, limits.dns_time_ns);
  verifier.body(body);
  verifier.end_of_body();
  hashes.flush();
  std::vector<crypto::RsaCheck*> checks;
  verifier.collect(checks);
  crypto::RsaVerifier().verify(checks);
  verifier.conclude();
}

int run_verify(const VerifyOptions& options) {
  int exit_code = kDone;
  const auto resolver = open_resolver(options.resolver, exit_code);
  if (!resolver) return exit_code;
  const auto message = read_message(options.message);
  if (!message) {
    complain(message.error());
    return kFailed;
  }
  mail::HeaderIndex index(UINT32_MAX, UINT32_MAX);
  index.feed(*message);
  index.finish();
  const std::string_view text = *message;
  crypto::Sha256Batch hashes;
  dkim::Verifier verifier({}, hashes);
  verifier.begin(text.substr(0, index.header_bytes()), index.fields(),
                 options.now ? *options.now : base::read_clocks().wall.us / 1'000'000);
  verify(verifier, hashes, text.substr(index.body_begin()), *resolver);

  std::vector<Report> reports;
  for (const mail::Field& field : index.fields()) {
    if (field.name != mail::FieldName::kDkimSignature) continue;
    if (reports.size() == verifier.signatures().size()) break;
    const dkim::SignatureResult& signature = verifier.signatures()[reports.size()];
    std::string key_name;
    if (!signature.selector.empty()) {
      key_name = fmt::format("{}._domainkey.{}", signature.selector, signature.domain);
    }
    reports.push_back({signature, explain_dkim(text, index, field, signature), key_name});
  }
  const std::size_t ignored =
      index.count(mail::FieldName::kDkimSignature) - verifier.signatures().size();
  Output output;
  output.write(options.json ? reports_json(reports, ignored) : reports_text(reports, ignored));
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_dkim_verify(CLI::App& dkim_app, Commands& commands) {
  CLI::App* app = dkim_app.add_subcommand("verify", "Check every signature of a message");
  const auto options = std::make_shared<VerifyOptions>();
  add_message(*app, options->message);
  app->add_option("--now", options->now, "The time that x= is compared with; default the clock's")
      ->type_name("UNIX");
  add_resolver(*app, options->resolver);
  app->add_flag("--json", options->json, "One JSON object");
  app->footer(
      "The result is a word of RFC 8601: pass, fail, neutral (malformed), policy (not acceptable\n"
      "here), temperror, permerror; none without a signature. The exit code is 0 for each of "
      "them.");
  commands.push_back({app, [options] { return run_verify(*options); }});
}

}  // namespace mxring::cli
