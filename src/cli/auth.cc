// `mxring auth`: the whole verdict on a message in a file, as the server would give it on the wire.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <optional>

#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/message_file.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "dns/ask.h"
#include "mailauth/disposition.h"
#include "mailauth/evaluation.h"
#include "mailauth/results_field.h"
#include "mailauth/verdict_json.h"
#include "server/client_name.h"
#include "server/policy.h"

namespace mxring::cli {

namespace {

using mailauth::Disposition;
using mailauth::Evaluation;
using mailauth::Part;

struct AuthOptions {
  std::string ip;
  std::string mail_from;
  std::string helo;
  std::string hostname = "mx.example.org";
  MessageArgument message;
  std::optional<std::int64_t> now;
  ResolverArgument resolver;
  bool json = false;
};

struct Verdict {
  const Evaluation& evaluation;
  bool evaluated = true;  // else the header section was over a limit, and nothing beyond SPF
  Disposition disposition = Disposition::kAccept;
  std::string reply = {};
  std::string results_field = {};
};

class Judge {
 public:
  Judge(dns::BlockingResolver& resolver, std::int64_t now_unix_s)
      : resolver_(resolver), now_unix_s_(now_unix_s), evaluation_({}, limits_, hashes_) {}

  void begin(const mailauth::spf::Request& request) {
    evaluation_.begin(request);
    ask(Part::kSpf);
  }

  void take(std::string_view message, const mail::HeaderIndex& header) {
    evaluation_.header(message.substr(0, header.header_bytes()), header.fields(), now_unix_s_);
    evaluation_.body(message.substr(header.body_begin()));
    evaluation_.end_of_body();
    hashes_.flush();
    ask(Part::kDkim);
    ask(Part::kArc);
    ask(Part::kDmarc);
    std::vector<crypto::RsaCheck*> checks;
    evaluation_.collect(checks);
    crypto::RsaVerifier().verify(checks);
    evaluation_.conclude();
    ask(Part::kDmarc);
  }

  const Evaluation& evaluation() const { return evaluation_; }
  const base::Limits& limits() const { return limits_; }

 private:
  struct OnePart {
    Evaluation& evaluation;
    Part part;

    bool step() { return evaluation.step(part); }
    std::span<const dns::Question> questions() const { return evaluation.questions(part); }
    void supply(const dns::Question& question, const dns::AnswerPtr& answer) {
      evaluation.supply(part, question, answer);
    }
    void give_up() { evaluation.give_up(); }
  };

  void ask(Part part) {
    OnePart machine{evaluation_, part};
    dns::ask_until_done(machine, resolver_, started_, limits_.dns_time_ns);
  }

  dns::BlockingResolver& resolver_;
  std::int64_t now_unix_s_;
  base::MonoTime started_ = base::read_clocks().mono;
  base::Limits limits_;
  crypto::Sha256Batch hashes_;
  Evaluation evaluation_;
};

// The forward-confirmed name, waited for, unlike on the wire.
std::string confirmed_name(dns::BlockingResolver& resolver, const base::IpAddress& client) {
  server::ClientName name(resolver.client());
  name.begin(client, base::read_clocks().mono);
  while (name.under_way()) resolver.wait(base::kNsPerSecond / 10);
  return name.name();
}

// What the server says of a message before any verdict: its header section and From field.
std::optional<std::string> early_refusal(std::string_view message, const mail::HeaderIndex& header,
                                         bool bounce) {
  server::PolicyScratch scratch;
  const server::Policy policy{server::Config{}};
  const mail::Field* from = header.first(mail::FieldName::kFrom);
  const std::string_view value =
      from == nullptr ? std::string_view() : message.substr(from->value, from->end - from->value);
  const auto refusal = policy.header(header, value, bounce, scratch);
  if (!refusal) return std::nullopt;
  return smtp::to_text(*refusal);
}

void write_client(base::JsonWriter& json, const AuthOptions& options, std::string_view name) {
  json.key("client").begin_object();
  json.key("ip").value(options.ip);
  json.key("helo").value(options.helo);
  json.key("name");
  name.empty() ? json.null() : json.value(name);
  json.end_object();
}

std::string verdict_json(const Verdict& verdict, const AuthOptions& options,
                         std::string_view name) {
  const Evaluation& evaluation = verdict.evaluation;
  base::JsonWriter json;
  json.begin_object();
  write_client(json, options, name);
  json.key("spf");
  mailauth::write_spf(json, *evaluation.spf());
  json.key("dkim");
  mailauth::write_dkim(json, evaluation.dkim());
  json.key("arc");
  if (const auto* arc = evaluation.arc()) {
    mailauth::write_arc(json, *arc);
  } else {
    json.null();
  }
  json.key("dmarc");
  if (const auto* dmarc = evaluation.dmarc()) {
    mailauth::write_dmarc(json, *dmarc);
  } else {
    json.null();
  }
  json.key("disposition").value(mailauth::word(verdict.disposition));
  json.key("reply").value(verdict.reply);
  json.key("authentication_results").value(verdict.results_field);
  json.end_object();
  return std::move(json).text() + '\n';
}

void spf_text(std::string& out, const mailauth::spf::Outcome& spf) {
  out += fmt::format("SPF          {:<9} ", mailauth::word(spf.result));
  out += base::escaped(spf.domain);
  if (spf.identity == mailauth::spf::Identity::kHelo) out += " (the HELO name)";
  if (!spf.mechanism.empty()) out += ", decided by " + base::escaped(spf.mechanism);
  if (!spf.problem.empty()) out += ": " + spf.problem;
  out += '\n';
}

void dkim_text(std::string& out, std::span<const mailauth::dkim::SignatureResult> signatures) {
  if (signatures.empty()) out += "DKIM         none      the message is not signed\n";
  for (const auto& signature : signatures) {
    out += fmt::format("DKIM         {:<9} {}, selector {}", mailauth::word(signature.result),
                       base::escaped(signature.domain), base::escaped(signature.selector));
    if (!signature.reason.empty()) out += ": " + signature.reason;
    if (signature.body_limited) out += "; part of the body is not signed (l=), so not for DMARC";
    out += '\n';
  }
}

void arc_text(std::string& out, const mailauth::arc::Outcome* arc) {
  if (arc == nullptr) return;
  out += fmt::format("ARC          {:<9} {}, sealed by {}", mailauth::word(arc->result),
                     base::counted(arc->sets, "set"), base::escaped(arc->sealer));
  if (!arc->reason.empty()) out += ": " + arc->reason;
  out += "; changes nothing\n";
}

void dmarc_text(std::string& out, const mailauth::dmarc::Outcome* dmarc) {
  if (dmarc == nullptr) return;
  out += fmt::format("DMARC        {:<9} ", mailauth::word(dmarc->result));
  out += base::escaped(dmarc->from_domain);
  if (dmarc->record_found) {
    out += fmt::format(", policy {} by {}", mailauth::dmarc::word(dmarc->policy),
                       base::escaped(dmarc->record_domain));
  } else if (dmarc->problem.empty()) {
    out += ", which has no DMARC record";
  }
  if (!dmarc->problem.empty()) out += ": " + dmarc->problem;
  out += '\n';
  const auto aligned = [&out](std::string_view method, std::string_view domain) {
    if (!domain.empty()) {
      out += fmt::format("             aligned   {} by {}\n", method, base::escaped(domain));
    }
  };
  aligned("SPF", dmarc->aligned_spf);
  aligned("DKIM", dmarc->aligned_dkim);
  if (dmarc->result == mailauth::Result::kFail) {
    out += "             aligned   nothing: neither SPF nor DKIM vouches for the From domain\n";
  }
}

std::string verdict_text(const Verdict& verdict) {
  const Evaluation& evaluation = verdict.evaluation;
  std::string out;
  spf_text(out, *evaluation.spf());
  if (verdict.evaluated) dkim_text(out, evaluation.dkim());
  arc_text(out, evaluation.arc());
  dmarc_text(out, evaluation.dmarc());
  out += fmt::format("disposition  {}\nreply        {}\n", mailauth::word(verdict.disposition),
                     verdict.reply);
  if (!verdict.results_field.empty()) out += "\n" + verdict.results_field;
  return out;
}

void decide(Verdict& verdict, const std::optional<std::string>& refusal) {
  MXRING_ASSERT(verdict.evaluated || refusal);
  if (refusal) {
    verdict.disposition = Disposition::kReject;
    verdict.reply = *refusal;
    return;
  }
  const mailauth::dmarc::Outcome* dmarc = verdict.evaluation.dmarc();
  verdict.disposition = mailauth::decide(dmarc, {});
  if (mailauth::is_refusal(verdict.disposition)) {
    std::string text;
    verdict.reply = smtp::to_text(mailauth::refusal(*dmarc, verdict.disposition, text));
  } else {
    verdict.reply = smtp::to_text(smtp::Reply(smtp::ReplyId::kAccepted));
  }
}

int run_auth(const AuthOptions& options) {
  const auto client = base::IpAddress::parse(options.ip);
  if (!client) {
    complain(fmt::format("--ip {}: not an address", base::escaped(options.ip)));
    return kUsage;
  }
  int exit_code = kDone;
  const auto resolver = open_resolver(options.resolver, exit_code);
  if (!resolver) return exit_code;
  const auto message = read_message(options.message);
  if (!message) {
    complain(message.error());
    return kFailed;
  }
  std::string_view mail_from = options.mail_from;
  if (mail_from == "<>") mail_from = {};
  const std::int64_t now_unix_s =
      options.now ? *options.now : base::read_clocks().wall.us / 1'000'000;

  Judge judge(*resolver, now_unix_s);
  judge.begin({.client = *client,
               .mail_from = mail_from,
               .helo = options.helo,
               .receiver = options.hostname,
               .now_unix_s = now_unix_s});
  mail::HeaderIndex header(judge.limits().header_bytes, judge.limits().header_fields,
                           server::Config{}.syntax.from_line);
  header.feed(*message);
  header.finish();

  Verdict verdict{.evaluation = judge.evaluation(),
                  .evaluated = header.status() == mail::HeaderStatus::kComplete};
  const auto refusal = early_refusal(*message, header, mail_from.empty());
  std::string name;
  if (verdict.evaluated) {
    judge.take(*message, header);
    name = confirmed_name(*resolver, *client);
    mailauth::authres::Builder builder(verdict.results_field);
    mailauth::write_results_field(builder, {.hostname = options.hostname,
                                            .mail_from = mail_from,
                                            .client = *client,
                                            .client_name = name,
                                            .evaluation = judge.evaluation()});
  }
  decide(verdict, refusal);
  Output output;
  output.write(options.json ? verdict_json(verdict, options, name) : verdict_text(verdict));
  output.flush();
  return output.failed() ? kFailed : kDone;
}

}  // namespace

void add_auth(CLI::App& program, Commands& commands) {
  CLI::App* auth = program.add_subcommand(
      "auth", "Judge a message: SPF, DKIM, DMARC and what the server would do with it");
  const auto options = std::make_shared<AuthOptions>();
  auth->add_option("--ip", options->ip, "The client's address")->required();
  auth->add_option("--mail-from", options->mail_from,
                   "The reverse-path; \"\" or \"<>\" is the null one")
      ->required()
      ->expected(0, 1);  // CLI11 takes "--mail-from=" for an option without a value
  auth->add_option("--helo", options->helo, "The name the client gave at HELO")->required();
  auth->add_option("--hostname", options->hostname, "Our name in Authentication-Results")
      ->capture_default_str();
  auth->add_option("--now", options->now, "The time that x= is compared with; default the clock's")
      ->type_name("UNIX");
  add_message(*auth, options->message);
  add_resolver(*auth, options->resolver);
  auth->add_flag("--json", options->json, "One JSON object");
  auth->footer("The exit code is 0 whatever the verdict.");
  commands.push_back({auth, [options] { return run_auth(*options); }});
}

}  // namespace mxring::cli
