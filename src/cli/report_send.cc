// `mxring report send`: delivers reports to the servers of those who asked for them, and notes on
// each report's sheet how far that came.
//
// Thread: one, which waits between attempts.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <random>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/key_file.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "mailauth/dkim/signature.h"
#include "mailauth/dkim/signer.h"
#include "report/courier.h"
#include "report/delivery.h"
#include "report/mailing.h"

namespace mxring::cli {

namespace {

namespace dkim = mailauth::dkim;
using report::DeliveryState;

constexpr std::array kStates{DeliveryState::kSent, DeliveryState::kWaiting, DeliveryState::kRefused,
                             DeliveryState::kTooLarge, DeliveryState::kGivenUp};

struct SendOptions {
  std::vector<std::string> paths;
  std::string key;
  std::string domain;
  std::string selector;
  std::string helo;
  std::uint16_t port = 25;
  std::string tls = "offered";
  std::string tls_verify;
  std::uint32_t attempts = 4;
  std::string retry_after = "2m";
  std::string connect_timeout = "30s";
  std::string reply_timeout = "5m";
  std::uint32_t connections = 20;
  ResolverArgument resolver;
  bool json = false;
};

std::int64_t unix_now() {
  return base::read_clocks().wall.us / 1'000'000;
}

// The signing key and everything that goes with it.
struct Signature {
  std::string domain;
  crypto::PrivateKey key;
  dkim::Signer signer;

  Signature(crypto::PrivateKey loaded, dkim::SignOptions options)
      : domain(options.domain), key(std::move(loaded)), signer(key, std::move(options)) {}
};

std::expected<std::unique_ptr<Signature>, int> load_signature(const SendOptions& options) {
  const std::array parts{&options.key, &options.domain, &options.selector};
  const auto given = std::ranges::count_if(parts, [](const auto* part) { return !part->empty(); });
  if (given == 0) return nullptr;
  const auto domain = dkim::parse_domain(options.domain);
  const auto selector = dkim::parse_domain(options.selector);
  if (given != 3 || !domain || !selector) {
    complain("a signature needs all of --key FILE, --domain DOMAIN and --selector NAME");
    return std::unexpected(kUsage);
  }
  auto key = read_private_key(options.key);
  if (!key) {
    complain(key.error());
    return std::unexpected(kFailed);
  }
  dkim::SignOptions sign;
  sign.domain = domain->to_text();
  sign.selector = selector->to_text();
  return std::make_unique<Signature>(*std::move(key), std::move(sign));
}

std::string send_json(const report::Mailing& mailing) {
  base::JsonWriter json;
  json.begin_object().key("reports").begin_array();
  for (const report::Parcel& parcel : mailing.parcels()) {
    json.begin_object().key("file").value(parcel.file.string());
    json.key("domain").value(parcel.sheet.policy_domain);
    json.key("report_id").value(parcel.sheet.report_id);
    json.key("destinations").begin_array();
    for (const report::Delivery& delivery : parcel.sheet.deliveries) {
      json.begin_object().key("address").value(delivery.address);
      json.key("state").value(word(delivery.state));
      json.key("attempts").value(delivery.attempts);
      json.key("server").value(delivery.server).key("tls");
      delivery.tls.empty() ? json.null() : json.value(delivery.tls);
      json.key("reply").value(delivery.last_reply).end_object();
    }
    json.end_array().end_object();
  }
  json.end_array();
  for (const DeliveryState state : kStates) {
    std::string key(word(state));
    std::ranges::replace(key, '-', '_');
    json.key(key).value(mailing.count(state));
  }
  json.end_object();
  return std::move(json).text() + '\n';
}

std::string send_table(const report::Mailing& mailing) {
  std::size_t domain_width = 6;
  std::size_t address_width = 11;
  for (const report::Parcel& parcel : mailing.parcels()) {
    domain_width = std::max(domain_width, parcel.sheet.policy_domain.size());
    for (const auto& d : parcel.sheet.deliveries) {
      address_width = std::max(address_width, d.address.size());
    }
  }
  std::string out = fmt::format("{:{}}  {:{}}  {:9}  {:>5}  {:7}  {}\n", "domain", domain_width,
                                "destination", address_width, "state", "tries", "TLS", "last word");
  for (const report::Parcel& parcel : mailing.parcels()) {
    for (const report::Delivery& d : parcel.sheet.deliveries) {
      const std::string_view version = std::string_view(d.tls).substr(0, d.tls.find(' '));
      out += fmt::format("{:{}}  {:{}}  {:9}  {:>5}  {:7}  {}{}{}\n", parcel.sheet.policy_domain,
                         domain_width, d.address, address_width, word(d.state), d.attempts,
                         base::escaped(version), base::escaped(d.server),
                         d.server.empty() ? "" : ": ", base::escaped(d.last_reply));
    }
  }
  for (const DeliveryState state : kStates) {
    const std::uint64_t count = mailing.count(state);
    // Those that are always said, and the others when there are any.
    if (count == 0 && state != DeliveryState::kSent && state != DeliveryState::kWaiting) continue;
    out += fmt::format("{}{} {}", state == kStates.front() ? "" : ", ", count, word(state));
  }
  return out + '\n';
}

std::optional<std::int64_t> duration(std::string_view option, const std::string& text) {
  const std::string problem = base::duration_problem(text);
  if (problem.empty()) return base::parse_duration_ns(text);
  complain(fmt::format("{} {}: {}", option, base::escaped(text), problem));
  return std::nullopt;
}

// This host's name, or the sender's domain when it has none that means anything elsewhere.
std::string helo_of(const SendOptions& options, const report::Mailing& mailing) {
  if (!options.helo.empty()) return options.helo;
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string name = host.data();
  const auto parsed = dns::Name::parse(name);
  if (name.contains('.') && parsed && parsed->is_host_name()) return name;
  return mailing.parcels().front().sheet.submitter;
}

struct Plan {
  report::CourierOptions courier;
  report::DeliveryOptions delivery;
};

// What the options ask for, but for the name of this host.
std::optional<Plan> plan_of(const SendOptions& options) {
  const auto retry_after_ns = duration("--retry-after", options.retry_after);
  const auto connect_ns = duration("--connect-timeout", options.connect_timeout);
  const auto reply_ns = duration("--reply-timeout", options.reply_timeout);
  if (!retry_after_ns || !connect_ns || !reply_ns) return std::nullopt;
  if (!options.tls_verify.empty() && options.tls != "required") {
    complain("--tls-verify needs --tls required");
    return std::nullopt;
  }
  Plan plan;
  plan.courier.tls = options.tls == "none"       ? report::TlsUse::kNever
                     : options.tls == "required" ? report::TlsUse::kRequired
                                                 : report::TlsUse::kOffered;
  plan.courier.authorities_file = options.tls_verify;
  plan.courier.connections = options.connections;
  plan.courier.connect_timeout_ns = *connect_ns;
  plan.courier.reply_timeout_ns = *reply_ns;
  plan.delivery.port = options.port;
  plan.delivery.attempts = options.attempts;
  plan.delivery.retry_after_ns = *retry_after_ns;
  return plan;
}

bool deliver_letters(report::Mailing& mailing, const Plan& plan, dns::BlockingResolver& resolver) {
  auto courier = report::Courier::create(plan.courier);
  if (!courier) {
    complain(courier.error());
    return false;
  }
  report::DeliveryEvents events;
  events.decided = [&](const report::Letter& letter) { mailing.note(letter, unix_now()); };
  events.waiting = [](std::size_t letters, std::int64_t wait_ns) {
    complain(
        fmt::format("{} put off; trying again in {}", letters, base::format_duration(wait_ns)));
  };
  report::deliver(mailing.letters(), plan.delivery, resolver, **courier, std::random_device{}(),
                  events);
  return true;
}

int run_send(const SendOptions& options) {
  auto plan = plan_of(options);
  if (!plan) return kUsage;
  const auto signature = load_signature(options);
  if (!signature) return signature.error();
  if (*signature == nullptr) {
    complain(
        "reports go out without a signature; many receivers take only those that pass DMARC: "
        "--key, --domain, --selector");
  }
  int exit_code = kDone;
  const auto resolver = open_resolver(options.resolver, exit_code);
  if (!resolver) return exit_code;
  report::Mailing mailing({.signer = *signature ? &(*signature)->signer : nullptr,
                           .signing_domain = *signature ? (*signature)->domain : "",
                           .now_unix_s = unix_now()},
                          complain);
  mailing.add(options.paths);
  if (!mailing.letters().empty()) {
    plan->courier.helo = helo_of(options, mailing);
    if (!deliver_letters(mailing, *plan, *resolver)) return kFailed;
  }
  Output output;
  // What is wrong with the only thing named was said; there is no table of nothing.
  const bool nothing = mailing.parcels().empty() && mailing.has_failed();
  if (options.json) {
    output.write(send_json(mailing));
  } else if (!nothing) {
    output.write(send_table(mailing));
  }
  output.flush();
  const bool delivered = std::ranges::all_of(mailing.letters(), [](const report::Letter& letter) {
    return letter.fate == report::Fate::kAccepted;
  });
  const bool good = delivered && mailing.count(DeliveryState::kWaiting) == 0 &&
                    !mailing.has_failed() && !output.failed();
  return good ? kDone : kFailed;
}

}  // namespace

void add_report_send(CLI::App& report_app, Commands& commands) {
  CLI::App* app = report_app.add_subcommand("send", "Deliver reports that were not delivered yet");
  const auto options = std::make_shared<SendOptions>();
  app->add_option("PATH", options->paths, "Reports, or folders with reports, made by `build`")
      ->required();
  app->add_option("--key", options->key, "The private key to sign with, from `dkim keygen`")
      ->type_name("FILE");
  app->add_option("--domain", options->domain, "d=, the domain that signs: that of --email");
  app->add_option("--selector", options->selector, "s=, the key's name below it");
  app->add_option("--helo", options->helo, "This host's name; default what it calls itself")
      ->type_name("NAME");
  app->add_option("--port", options->port, "The port of the mail servers")
      ->check(CLI::Range(1, 65535).description(""))
      ->capture_default_str();
  app->add_option("--tls", options->tls,
                  "STARTTLS where it is offered, else in the clear; default offered")
      ->check(CLI::IsMember({"offered", "required", "none"}).description(""))
      ->type_name("offered|required|none");
  app->add_option("--tls-verify", options->tls_verify,
                  "With required: only to servers whose certificate has their name\n"
                  "and comes from an authority in this PEM file; else any will do")
      ->type_name("FILE");
  app->add_option("--attempts", options->attempts, "How often a letter that is put off is tried")
      ->check(CLI::Range(1U, 100U).description(""))
      ->capture_default_str();
  app->add_option("--retry-after", options->retry_after,
                  "The wait after the first attempt; doubled each time, an hour at most")
      ->capture_default_str();
  app->add_option("--connect-timeout", options->connect_timeout, "For a connection")
      ->capture_default_str();
  app->add_option("--reply-timeout", options->reply_timeout,
                  "For a reply; twice as long after a message")
      ->capture_default_str();
  app->add_option("--connections", options->connections, "At the same time, one for each domain")
      ->check(CLI::Range(1U, 200U).description(""))
      ->capture_default_str();
  add_resolver(*app, options->resolver);
  app->add_flag("--json", options->json, "One JSON object");
  app->footer(
      "The sheet beside each report (REPORT.json) says whom it goes to and keeps the outcome:\n"
      "what was sent or refused (5yz) is not tried again, what was put off (4yz, no answer) is by\n"
      "the next `send`, for five days. The exit code is 1 when something was not delivered.");
  commands.push_back({app, [options] { return run_send(*options); }});
}

}  // namespace mxring::cli
