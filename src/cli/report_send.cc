// `mxring report send`: delivers reports to the servers of those who asked for them, and notes on
// each report's sheet how far that came.
//
// Thread: one, which waits between attempts. A delivery is noted as soon as it is decided, so that
// ending the command at any moment sends nothing twice but what was under way just then.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <filesystem>
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
#include "report/delivery_sheet.h"
#include "report/report_message.h"

namespace mxring::cli {

namespace {

namespace dkim = mailauth::dkim;
namespace fs = std::filesystem;
using report::DeliveryState;

constexpr std::uint64_t kReportBytesMax = 256 << 20;

struct SendOptions {
  std::vector<std::string> paths;
  std::string key;
  std::string domain;
  std::string selector;
  std::string helo;
  std::uint16_t port = 25;
  std::uint32_t attempts = 4;
  std::string retry_after = "2m";
  std::string connect_timeout = "30s";
  std::string reply_timeout = "5m";
  std::uint32_t connections = 20;
  ResolverArgument resolver;
  bool json = false;
};

struct Parcel {
  fs::path file;
  report::DeliverySheet sheet;
};

// Which of a parcel's deliveries a letter is.
struct Place {
  std::size_t parcel = 0;
  std::size_t delivery = 0;
};

struct Mailing {
  std::vector<Parcel> parcels;
  std::vector<report::Letter> letters;
  std::vector<Place> places;  // of each letter
  int exit_code = kDone;

  void fail(std::string_view message) {
    complain(message);
    exit_code = kFailed;
  }
  void save(const Parcel& parcel) {
    const auto path = report::sheet_path(parcel.file);
    if (const auto saved = report::write_file(path, to_json(parcel.sheet)); !saved) {
      fail(saved.error());
    }
  }
};

// The signing key and everything that goes with it.
struct Signature {
  crypto::PrivateKey key;
  dkim::Signer signer;

  Signature(crypto::PrivateKey loaded, dkim::SignOptions options)
      : key(std::move(loaded)), signer(key, std::move(options)) {}
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

// The reports named, and those in the folders named that have a sheet.
std::optional<std::vector<fs::path>> find_reports(const std::vector<std::string>& paths) {
  std::vector<fs::path> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (!fs::is_directory(path, error)) {
      files.emplace_back(path);
      continue;
    }
    for (fs::directory_iterator at(path, error), end; !error && at != end; at.increment(error)) {
      std::error_code ignored;
      const fs::path file = at->path();
      if (file.filename().string().ends_with(".xml.gz") &&
          fs::exists(report::sheet_path(file), ignored)) {
        files.push_back(file);
      }
    }
    if (error) {
      complain(fmt::format("{}: {}", base::escaped(path), error.message()));
      return std::nullopt;
    }
  }
  std::ranges::sort(files);
  files.erase(std::ranges::unique(files).begin(), files.end());
  return files;
}

bool are_aligned(std::string_view a, std::string_view b) {
  if (a.size() < b.size()) std::swap(a, b);
  return a == b || (a.ends_with(b) && a[a.size() - b.size() - 1] == '.');
}

// A mail for every delivery of the parcel that is still waiting.
void write_letters(Mailing& mailing, std::size_t index, std::string_view bytes,
                   Signature* signature) {
  Parcel& parcel = mailing.parcels[index];
  const std::string name = parcel.file.filename().string();
  const std::int64_t now_s = base::read_clocks().wall.us / 1'000'000;
  for (std::size_t i = 0; i < parcel.sheet.deliveries.size(); ++i) {
    report::Delivery& delivery = parcel.sheet.deliveries[i];
    if (delivery.state != DeliveryState::kWaiting) continue;
    std::string content = compose_report(parcel.sheet, delivery.address, {name, bytes}, now_s);
    if (signature != nullptr) {
      signature->signer.set_now(now_s);
      auto field = signature->signer.sign(content);
      if (!field) return mailing.fail(field.error());
      content.insert(0, *field);
    }
    if (delivery.bytes_max != 0 && content.size() > delivery.bytes_max) {
      delivery.state = DeliveryState::kTooLarge;
      delivery.last_reply =
          fmt::format("{} bytes, and the address takes {}", content.size(), delivery.bytes_max);
      mailing.save(parcel);
      continue;
    }
    report::Letter& letter = mailing.letters.emplace_back();
    letter.mail_from = parcel.sheet.email;
    letter.rcpt_to = delivery.address;
    letter.host = delivery.host;
    letter.content = std::move(content);
    letter.number = mailing.places.size();
    mailing.places.push_back({index, i});
  }
}

void load_parcels(Mailing& mailing, const std::vector<fs::path>& files, const SendOptions& options,
                  Signature* signature) {
  for (const fs::path& file : files) {
    auto sheet = report::read_sheet(report::sheet_path(file));
    if (!sheet) {
      mailing.fail(sheet.error());
      continue;
    }
    if (signature != nullptr && !are_aligned(options.domain, sheet->submitter)) {
      mailing.fail(
          fmt::format("{}: comes from {}, which a signature of {} says nothing about; "
                      "RFC 9990 wants reports to pass DMARC",
                      base::escaped(file.string()), sheet->email, options.domain));
      continue;
    }
    mailing.parcels.push_back({file, std::move(*sheet)});
    if (!mailing.parcels.back().sheet.waiting()) continue;
    const auto bytes = report::read_file(file, kReportBytesMax);
    if (!bytes) {
      mailing.fail(bytes.error());
      continue;
    }
    write_letters(mailing, mailing.parcels.size() - 1, *bytes, signature);
  }
}

DeliveryState state_of(report::Fate fate) {
  switch (fate) {
    case report::Fate::kAccepted:
      return DeliveryState::kSent;
    case report::Fate::kRefused:
      return DeliveryState::kRefused;
    case report::Fate::kTooLarge:
      return DeliveryState::kTooLarge;
    case report::Fate::kUndecided:
    case report::Fate::kPutOff:
      break;
  }
  return DeliveryState::kWaiting;
}

void note(Mailing& mailing, const report::Letter& letter) {
  const Place place = mailing.places[letter.number];
  Parcel& parcel = mailing.parcels[place.parcel];
  report::Delivery& delivery = parcel.sheet.deliveries[place.delivery];
  delivery.state = state_of(letter.fate);
  ++delivery.attempts;
  delivery.last_reply =
      letter.code == 0 ? letter.reply : fmt::format("{} {}", letter.code, letter.reply);
  delivery.server = letter.server;
  mailing.save(parcel);
}

struct Totals {
  std::array<std::uint64_t, 4> of{};  // by state
  std::uint64_t count(DeliveryState state) const { return of[static_cast<std::size_t>(state)]; }
};

Totals add_up(const Mailing& mailing) {
  Totals totals;
  for (const Parcel& parcel : mailing.parcels) {
    for (const report::Delivery& delivery : parcel.sheet.deliveries) {
      ++totals.of[static_cast<std::size_t>(delivery.state)];
    }
  }
  return totals;
}

std::string send_json(const Mailing& mailing, const Totals& totals) {
  base::JsonWriter json;
  json.begin_object().key("reports").begin_array();
  for (const Parcel& parcel : mailing.parcels) {
    json.begin_object().key("file").value(parcel.file.string());
    json.key("domain").value(parcel.sheet.policy_domain);
    json.key("report_id").value(parcel.sheet.report_id);
    json.key("destinations").begin_array();
    for (const report::Delivery& delivery : parcel.sheet.deliveries) {
      json.begin_object().key("address").value(delivery.address);
      json.key("state").value(word(delivery.state));
      json.key("attempts").value(delivery.attempts);
      json.key("server").value(delivery.server);
      json.key("reply").value(delivery.last_reply).end_object();
    }
    json.end_array().end_object();
  }
  json.end_array();
  for (const DeliveryState state : {DeliveryState::kSent, DeliveryState::kWaiting,
                                    DeliveryState::kRefused, DeliveryState::kTooLarge}) {
    const std::string key =
        state == DeliveryState::kTooLarge ? "too_large" : std::string(word(state));
    json.key(key).value(totals.count(state));
  }
  json.end_object();
  return std::move(json).text() + '\n';
}

std::string send_table(const Mailing& mailing, const Totals& totals) {
  std::size_t domain_width = 6;
  std::size_t address_width = 11;
  for (const Parcel& parcel : mailing.parcels) {
    domain_width = std::max(domain_width, parcel.sheet.policy_domain.size());
    for (const auto& d : parcel.sheet.deliveries) {
      address_width = std::max(address_width, d.address.size());
    }
  }
  std::string out = fmt::format("{:{}}  {:{}}  {:9}  {:>5}  {}\n", "domain", domain_width,
                                "destination", address_width, "state", "tries", "last word");
  for (const Parcel& parcel : mailing.parcels) {
    for (const report::Delivery& d : parcel.sheet.deliveries) {
      out += fmt::format("{:{}}  {:{}}  {:9}  {:>5}  {}{}{}\n", parcel.sheet.policy_domain,
                         domain_width, d.address, address_width, word(d.state), d.attempts,
                         base::escaped(d.server), d.server.empty() ? "" : ": ",
                         base::escaped(d.last_reply));
    }
  }
  return out +
         fmt::format("{} sent, {} waiting, {} refused, {} too large\n",
                     totals.count(DeliveryState::kSent), totals.count(DeliveryState::kWaiting),
                     totals.count(DeliveryState::kRefused), totals.count(DeliveryState::kTooLarge));
}

std::optional<std::int64_t> duration(std::string_view option, const std::string& text) {
  const auto ns = base::parse_duration_ns(text);
  if (ns && *ns > 0) return ns;
  complain(fmt::format("{} {}: not a duration; write 30s or 5m", option, base::escaped(text)));
  return std::nullopt;
}

// This host's name, or the sender's domain when it has none that means anything elsewhere.
std::string helo_of(const SendOptions& options, const Mailing& mailing) {
  if (!options.helo.empty()) return options.helo;
  std::array<char, 256> host{};
  ::gethostname(host.data(), host.size() - 1);
  const std::string name = host.data();
  const auto parsed = dns::Name::parse(name);
  if (name.contains('.') && parsed && parsed->is_host_name()) return name;
  return mailing.parcels.front().sheet.submitter;
}

int deliver_letters(Mailing& mailing, const SendOptions& options, dns::BlockingResolver& resolver) {
  const auto retry_after_ns = duration("--retry-after", options.retry_after);
  const auto connect_ns = duration("--connect-timeout", options.connect_timeout);
  const auto reply_ns = duration("--reply-timeout", options.reply_timeout);
  if (!retry_after_ns || !connect_ns || !reply_ns) return kUsage;
  auto courier = report::Courier::create({.helo = helo_of(options, mailing),
                                          .connections = options.connections,
                                          .connect_timeout_ns = *connect_ns,
                                          .reply_timeout_ns = *reply_ns});
  if (!courier) {
    complain(courier.error());
    return kFailed;
  }
  report::DeliveryEvents events;
  events.decided = [&](const report::Letter& letter) { note(mailing, letter); };
  events.waiting = [](std::size_t letters, std::int64_t wait_ns) {
    complain(
        fmt::format("{} put off; trying again in {}", letters, base::format_duration(wait_ns)));
  };
  report::deliver(
      mailing.letters,
      {.port = options.port, .attempts = options.attempts, .retry_after_ns = *retry_after_ns},
      resolver, **courier, std::random_device{}(), events);
  return kDone;
}

int run_send(const SendOptions& options) {
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
  const auto files = find_reports(options.paths);
  if (!files) return kFailed;
  Mailing mailing;
  load_parcels(mailing, *files, options, signature->get());
  if (!mailing.letters.empty()) {
    if (const int failed = deliver_letters(mailing, options, *resolver); failed != kDone) {
      return failed;
    }
  }
  const Totals totals = add_up(mailing);
  Output output;
  output.write(options.json ? send_json(mailing, totals) : send_table(mailing, totals));
  output.flush();
  if (totals.count(DeliveryState::kWaiting) != 0) mailing.exit_code = kFailed;
  for (const report::Letter& letter : mailing.letters) {
    if (letter.fate != report::Fate::kAccepted) mailing.exit_code = kFailed;
  }
  return output.failed() ? kFailed : mailing.exit_code;
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
      "the next `send`. The exit code is 1 when something was not delivered.");
  commands.push_back({app, [options] { return run_send(*options); }});
}

}  // namespace mxring::cli
