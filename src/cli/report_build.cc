// `mxring report build`: one gzipped XML file for each policy domain that asked for reports, with a
// sheet beside it that says whom it goes to.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <tuple>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/log_walk.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "cli/time_argument.h"
#include "dns/ask.h"
#include "mailauth/dmarc/author.h"
#include "report/aggregate.h"
#include "report/audience.h"
#include "report/delivery_sheet.h"
#include "report/destination.h"
#include "report/feedback_xml.h"
#include "report/folder_lock.h"
#include "report/gzip.h"

namespace mxring::cli {

namespace {

namespace dmarc = mailauth::dmarc;
namespace fs = std::filesystem;

constexpr std::int64_t kUsPerSecond = 1'000'000;
constexpr std::int64_t kUsPerDay = 86'400 * kUsPerSecond;
// The log is in the order of commits; the time of a record is that of its last byte, and DNS may
// have taken its time in between.
constexpr std::int64_t kDisorderUs = 60 * kUsPerSecond;
constexpr std::size_t kDomainsAtOnce = 32;

struct BuildOptions {
  std::string directory;
  std::string from;
  std::string to;
  std::string out = ".";
  std::string organization;
  std::string email;
  report::AggregateLimits limits;
  report::AudienceOptions audience;
  std::string allow_file;
  std::string deny_file;
  ResolverArgument resolver;
  bool json = false;
};

struct Span {
  std::int64_t from_us = 0;
  std::int64_t to_us = 0;  // not included

  report::Period period() const { return {from_us / kUsPerSecond, to_us / kUsPerSecond - 1}; }
};

// One policy domain's way through the command.
struct Job {
  std::string domain;
  const report::DomainAggregate* sum = nullptr;
  dmarc::Record policy;
  report::Withheld withheld = report::Withheld::kNo;
  std::optional<report::DestinationCheck> check;
  std::string report_id;
  fs::path file;  // empty: none was written

  const std::vector<report::Destination>& destinations() const { return check->destinations(); }
};

struct Reading {
  report::Aggregator sums;
  std::uint64_t records = 0;     // in the period
  std::uint64_t unreadable = 0;  // verdicts
  std::string holdings;          // when nothing is in the period: which times the log has
  int exit_code = kDone;

  explicit Reading(const report::AggregateLimits& limits) : sums(limits) {}
};

std::optional<Span> span_of(const BuildOptions& options, base::WallTime now) {
  // Without a period, the last whole day.
  const std::int64_t today_us = now.us / kUsPerDay * kUsPerDay;
  Span span{today_us - kUsPerDay, today_us};
  if (options.from.empty() && options.to.empty()) return span;
  if (options.from.empty()) {
    complain("--to needs --from; without both, the day before this one (UTC)");
    return std::nullopt;
  }
  span.to_us = now.us / kUsPerSecond * kUsPerSecond;
  for (const auto& [flag, text, out] : {std::tuple("--from", &options.from, &span.from_us),
                                        std::tuple("--to", &options.to, &span.to_us)}) {
    if (text->empty()) continue;
    const auto time = parse_time(*text, now);
    if (!time) {
      complain(fmt::format("{} {}: not a time; {}", flag, base::escaped(*text), kTimeForms));
      return std::nullopt;
    }
    *out = *time / kUsPerSecond * kUsPerSecond;
  }
  if (span.to_us > span.from_us) return span;
  complain(options.to.empty() ? "--from must lie in the past when there is no --to"
                              : "--to must be later than --from");
  return std::nullopt;
}

// Who reports: an address, and its domain as the name of the receiver.
std::optional<report::Reporter> reporter_of(const BuildOptions& options) {
  std::string email = options.email;
  if (email.empty()) {
    std::array<char, 256> host{};
    ::gethostname(host.data(), host.size() - 1);
    email = std::string("postmaster@") + host.data();
  }
  dmarc::AuthorScratch scratch;
  const auto domain = dmarc::parse_author_domain(email, scratch);
  const bool plain = std::ranges::all_of(
      email, [](char c) { return c > ' ' && c < '\x7F' && c != '<' && c != '"'; });
  if (!domain || !plain || !domain->contains('.') || domain->starts_with('[')) {
    const std::size_t at = email.rfind('@');
    if (options.email.empty()) {
      complain("this host has no domain name; add --email ADDRESS");
    } else if (at == std::string::npos || at == 0 || !plain) {
      complain(fmt::format("--email {}: not an address; write for example dmarc@mx.example.org",
                           base::escaped(email)));
    } else {
      complain(fmt::format(
          "--email {}: \"{}\" is not a full domain name; write for example dmarc@mx.example.org",
          base::escaped(email), base::escaped(std::string_view(email).substr(at + 1))));
    }
    return std::nullopt;
  }
  report::Reporter reporter{.organization = options.organization,
                            .email = email.substr(0, email.rfind('@') + 1) + std::string(*domain),
                            .submitter = std::string(*domain),
                            .generator = "mxring " MXRING_VERSION};
  if (reporter.organization.empty()) reporter.organization = reporter.submitter;
  return reporter;
}

// The day of the last record only when it is another than the first's.
std::string times_of(const std::vector<SegmentInfo>& segments) {
  std::optional<std::int64_t> first_us;
  std::int64_t last_us = 0;
  for (const SegmentInfo& segment : segments) {
    if (segment.records == 0) continue;
    if (!first_us) first_us = segment.first_received_at_us;
    last_us = std::max(last_us, segment.last_received_at_us);
  }
  if (!first_us) return "the log is empty";
  constexpr std::size_t kDay = 11;     // "2026-11-22T"
  constexpr std::size_t kMinute = 16;  // "2026-11-22T11:38"
  const std::string first = base::format_wall_time(*first_us).substr(0, kMinute);
  std::string last = base::format_wall_time(last_us).substr(0, kMinute);
  if (last.starts_with(first.substr(0, kDay))) last.erase(0, kDay);
  return fmt::format("the log holds {}Z to {}Z; see --from and --to", first, last);
}

// Reads the period's records, refusals too.
Reading read_log(LogReader& reader, const BuildOptions& options, const Span& span) {
  Reading reading(options.limits);
  reader.include_refusals(true);
  if (const auto moved = reader.seek_time(span.from_us - kDisorderUs); !moved) {
    complain(describe(moved.error()));
    if (!can_continue(moved.error())) {
      reading.exit_code = kFailed;
      return reading;
    }
  }
  for (;;) {
    const auto record = reader.next();
    if (!record) {
      complain(describe(record.error()));
      reading.exit_code = kFailed;
      if (!can_continue(record.error())) return reading;
      continue;
    }
    if (!*record || (*record)->received_at_us >= span.to_us + kDisorderUs) return reading;
    const Record& found = **record;
    if (found.received_at_us < span.from_us || found.received_at_us >= span.to_us) continue;
    ++reading.records;
    auto seen = report::observe(found);
    if (!seen) {
      if (++reading.unreadable <= 10) {
        complain(fmt::format("record {}: {}; it is in no report", found.offset, seen.error()));
      }
      reading.exit_code = kFailed;
    } else if (*seen) {
      reading.sums.add(std::move(**seen));
    }
  }
}

// Those that ask for reports, also the ones that get none.
std::vector<Job> jobs_of(const report::Aggregator& sums, const report::AudienceOptions& audience) {
  std::vector<Job> jobs;
  for (const auto& [domain, sum] : sums.domains()) {
    auto policy = dmarc::parse(sum.policy_record);
    const auto name = dns::Name::parse(domain);
    // It becomes part of a file's name.
    if (!policy || policy->aggregate_uris.empty() || !name || !name->is_host_name()) continue;
    Job& job = jobs.emplace_back();
    job.domain = domain;
    job.sum = &sum;
    job.policy = std::move(*policy);
    job.withheld = report::withheld(domain, sum, audience);
    job.check.emplace(domain, job.policy);
  }
  return jobs;
}

// Reports of this day that lie in the folder already, but for those that are built again.
std::size_t made_today(const fs::path& folder, const std::vector<Job>& jobs, base::WallTime now) {
  std::size_t made = 0;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename().string();
    if (!name.ends_with(".xml.gz")) continue;
    const bool again = std::ranges::any_of(jobs, [&](const Job& job) {
      return job.withheld == report::Withheld::kNo && name.contains('!' + job.report_id + '.');
    });
    const auto written = std::chrono::file_clock::to_sys(fs::last_write_time(at->path(), error));
    const auto since = std::chrono::floor<std::chrono::microseconds>(written.time_since_epoch());
    if (!again && since.count() / kUsPerDay == now.us / kUsPerDay) ++made;
  }
  return made;
}

// The domains with the most mail first.
void keep_to_the_day(std::vector<Job>& jobs, std::size_t room) {
  std::vector<Job*> wanted;
  for (Job& job : jobs) {
    if (job.withheld == report::Withheld::kNo) wanted.push_back(&job);
  }
  std::ranges::stable_sort(wanted, std::greater{},
                           [](const Job* job) { return job->sum->messages; });
  for (std::size_t i = room; i < wanted.size(); ++i) {
    wanted[i]->withheld = report::Withheld::kDayIsFull;
  }
}

constexpr std::int64_t kDestinationsTimeNs = 300 * base::kNsPerSecond;

void check_destinations(std::span<Job> jobs, dns::BlockingResolver& resolver) {
  std::vector<report::DestinationCheck*> checks;
  for (Job& job : jobs) {
    if (job.withheld == report::Withheld::kNo) checks.push_back(&*job.check);
  }
  dns::ask_until_done(std::span<report::DestinationCheck* const>(checks), resolver,
                      base::read_clocks().mono, kDestinationsTimeNs);
}

// Built a second time, a report keeps what is known about its deliveries.
void keep_states(const fs::path& path, report::DeliverySheet& sheet) {
  const auto before = report::read_sheet(path);
  if (!before || before->report_id != sheet.report_id) return;
  for (report::Delivery& delivery : sheet.deliveries) {
    const auto known =
        std::ranges::find(before->deliveries, delivery.address, &report::Delivery::address);
    if (known != before->deliveries.end()) delivery = *known;
  }
}

std::expected<void, std::string> write_report(Job& job, const report::Reporter& reporter,
                                              const report::Period& period,
                                              const BuildOptions& options,
                                              const report::Refusals& refusals) {
  const fs::path folder = options.out;
  report::DeliverySheet sheet{
      job.domain, job.report_id, reporter.submitter, reporter.organization, reporter.email, period,
      {}};
  for (const report::Destination& destination : job.destinations()) {
    if (!may_send(destination.permission)) continue;
    if (options.audience.denied.covers(destination.host)) continue;
    report::Delivery& delivery = sheet.deliveries.emplace_back();
    delivery.address = destination.address;
    delivery.host = destination.host;
  }
  std::optional<report::FolderLock> lock;
  std::error_code ignored;
  const fs::path file =
      folder / report::file_name(reporter.submitter, job.domain, period, job.report_id);
  if (fs::exists(report::sheet_path(file), ignored)) {
    // It may be on its way just now.
    auto taken = report::FolderLock::take(folder);
    if (!taken) return std::unexpected(taken.error());
    lock = *std::move(taken);
    keep_states(report::sheet_path(file), sheet);
  }
  // Of what was refused the sheet keeps the outcome; a new report is not even addressed.
  std::erase_if(sheet.deliveries, [&](const report::Delivery& delivery) {
    return delivery.attempts == 0 && refusals.has(delivery.address);
  });
  if (sheet.deliveries.empty()) return {};
  const auto packed =
      report::gzip(feedback_xml(reporter, period, job.report_id, job.domain, job.policy, *job.sum));
  if (!packed) return std::unexpected(std::string(packed.error()));
  // The sheet last: a report without one is not sent.
  if (auto written = report::write_file(file, *packed); !written) return written;
  auto written = report::write_file(report::sheet_path(file), report::to_json(sheet));
  if (written) job.file = file;
  return written;
}

std::string_view explain(report::Permission permission) {
  switch (permission) {
    case report::Permission::kOwn:
      return "its own organization";
    case report::Permission::kGranted:
      return "takes these reports";
    case report::Permission::kNotGranted:
      return "another organization, whose DNS does not say that it takes them";
    case report::Permission::kOtherHost:
      return "its DNS names an address elsewhere, which is not allowed";
    case report::Permission::kUnanswered:
      return "DNS did not answer; build again later";
    case report::Permission::kUnusable:
      return "not an address that mail can be sent to";
  }
  return "";
}

std::string build_json(const Span& span, const Reading& reading, const std::vector<Job>& jobs) {
  base::JsonWriter json;
  json.begin_object();
  json.key("from").value(base::format_wall_time(span.from_us));
  json.key("to").value(base::format_wall_time(span.to_us));
  json.key("records").value(reading.records);
  json.key("messages").value(reading.sums.messages());
  json.key("unreadable").value(reading.unreadable);
  json.key("left_out").value(reading.sums.left_out());
  json.key("domains").value(std::uint64_t{reading.sums.domains().size()});
  json.key("reports").begin_array();
  for (const Job& job : jobs) {
    if (job.withheld != report::Withheld::kNo) continue;
    json.begin_object().key("domain").value(job.domain);
    json.key("messages").value(job.sum->messages);
    json.key("passed").value(job.sum->passed);
    json.key("rows").value(std::uint64_t{job.sum->rows.size()});
    json.key("left_out").value(job.sum->left_out);
    json.key("report_id").value(job.report_id);
    json.key("file");
    job.file.empty() ? json.null() : json.value(job.file.string());
    json.key("destinations").begin_array();
    for (const report::Destination& destination : job.destinations()) {
      json.begin_object().key("uri").value(destination.uri);
      json.key("address").value(destination.address);
      json.key("permission").value(word(destination.permission)).end_object();
    }
    json.end_array().end_object();
  }
  json.end_array().key("withheld").begin_array();
  for (const Job& job : jobs) {
    if (job.withheld == report::Withheld::kNo) continue;
    json.begin_object().key("domain").value(job.domain);
    json.key("messages").value(job.sum->messages);
    json.key("passed").value(job.sum->passed);
    json.key("reason").value(word(job.withheld)).end_object();
  }
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

// "58 domains get no report: fewer messages that pass DMARC than --passes-min"
std::string withheld_lines(const std::vector<Job>& jobs) {
  std::map<report::Withheld, std::uint64_t> counts;
  for (const Job& job : jobs) ++counts[job.withheld];
  std::string out;
  for (const auto& [why, count] : counts) {
    if (why == report::Withheld::kNo) continue;
    out += fmt::format("{} no report: {}\n", base::counted(count, "domain gets", "domains get"),
                       explain(why));
  }
  return out;
}

std::string build_table(const Span& span, const Reading& reading, const std::vector<Job>& jobs) {
  std::string out = fmt::format(
      "{} to {}: {}, {} of them with a DMARC policy, of {}\n", base::format_wall_time(span.from_us),
      base::format_wall_time(span.to_us), base::counted(reading.records, "record"),
      base::format_count(reading.sums.messages()),
      base::counted(reading.sums.domains().size(), "domain"));
  if (!reading.holdings.empty()) return out + reading.holdings + '\n';
  out += '\n';
  std::size_t width = 6;
  std::size_t to_width = 12;
  bool any = false;
  for (const Job& job : jobs) {
    if (job.withheld != report::Withheld::kNo) continue;
    any = true;
    width = std::max(width, job.domain.size());
    for (const auto& d : job.destinations()) to_width = std::max(to_width, d.address.size());
  }
  if (any) {
    out += fmt::format("{:{}}  {:>10}  {:>6}  {:{}}  {}\n", "domain", width, "messages", "rows",
                       "destinations", to_width, "file");
  }
  for (const Job& job : jobs) {
    if (job.withheld != report::Withheld::kNo) continue;
    std::string front = fmt::format("{:{}}  {:>10}  {:>6}", job.domain, width,
                                    base::format_count(job.sum->messages),
                                    base::format_count(job.sum->rows.size()));
    std::string file = job.file.empty() ? "none" : base::escaped(job.file.filename().string());
    for (const report::Destination& d : job.destinations()) {
      const bool good = may_send(d.permission);
      out += fmt::format("{}  {:{}}  {}\n", front,
                         d.address.empty() ? base::escaped(d.uri) : d.address, to_width,
                         good ? std::string_view(file) : explain(d.permission));
      front.assign(front.size(), ' ');
      if (good) file = "the same";
    }
  }
  out += withheld_lines(jobs);
  const std::size_t silent = reading.sums.domains().size() - jobs.size();
  if (silent != 0) {
    out += fmt::format("{} no reports\n", base::counted(silent, "domain wants", "domains want"));
  }
  return out;
}

// The lists that files have; nothing after saying what is wrong with one.
std::optional<report::AudienceOptions> audience_of(const BuildOptions& options) {
  report::AudienceOptions audience = options.audience;
  for (const auto& [file, set] : {std::pair(&options.allow_file, &audience.allowed),
                                  std::pair(&options.deny_file, &audience.denied)}) {
    if (file->empty()) continue;
    auto read = report::read_domains(*file);
    if (!read) {
      complain(read.error());
      return std::nullopt;
    }
    *set = *std::move(read);
  }
  return audience;
}

// Checks where reports may go and writes them; kFailed when one could not be written.
int make_reports(std::vector<Job>& jobs, const report::Reporter& reporter, const Span& span,
                 const BuildOptions& options, dns::BlockingResolver& resolver) {
  const auto refusals = report::Refusals::read(options.out);
  if (!refusals) {
    complain(refusals.error());
    return kFailed;
  }
  for (Job& job : jobs) {
    job.report_id = identify(reporter, span.period(), job.domain, job.policy, *job.sum);
  }
  const std::size_t made = made_today(options.out, jobs, base::read_clocks().wall);
  keep_to_the_day(jobs, options.audience.per_day - std::min(made, options.audience.per_day));
  for (std::size_t at = 0; at < jobs.size(); at += kDomainsAtOnce) {
    const auto some = std::span(jobs).subspan(at, std::min(kDomainsAtOnce, jobs.size() - at));
    check_destinations(some, resolver);
  }
  int exit_code = kDone;
  for (Job& job : jobs) {
    if (job.withheld != report::Withheld::kNo) continue;
    const auto written = write_report(job, reporter, span.period(), options, *refusals);
    if (written) continue;
    complain(written.error());
    exit_code = kFailed;
  }
  return exit_code;
}

int run_build(BuildOptions options) {
  const base::WallTime now = base::read_clocks().wall;
  const auto span = span_of(options, now);
  const auto reporter = reporter_of(options);
  if (!span || !reporter) return kUsage;
  auto audience = audience_of(options);
  if (!audience) return kFailed;
  options.audience = *std::move(audience);
  if (span->to_us > now.us) {
    complain("--to lies in the future: what arrives later will be in no report of this period");
  }
  int exit_code = kDone;
  const auto resolver = open_resolver(options.resolver, exit_code);
  if (!resolver) return exit_code;
  auto reader = open_log(options.directory);
  if (!reader) return reader.error();
  Reading reading = read_log(*reader, options, *span);
  if (reading.records == 0) reading.holdings = times_of(reader->segments());
  exit_code = reading.exit_code;
  if (reading.sums.left_out() != 0) {
    complain(
        fmt::format("{} left out: more different rows or domains than "
                    "--rows-max, --rows-per-domain or --domains-max allow",
                    base::counted(reading.sums.left_out(), "message is", "messages are")));
  }
  std::error_code error;
  fs::create_directories(options.out, error);
  if (error) {
    complain(fmt::format("{}: {}", base::escaped(options.out), error.message()));
    return kFailed;
  }
  std::vector<Job> jobs = jobs_of(reading.sums, options.audience);
  exit_code = std::max(exit_code, make_reports(jobs, *reporter, *span, options, *resolver));
  Output output;
  output.write(options.json ? build_json(*span, reading, jobs) : build_table(*span, reading, jobs));
  output.flush();
  return output.failed() ? kFailed : exit_code;
}

}  // namespace

void add_report_build(CLI::App& report_app, Commands& commands) {
  CLI::App* app = report_app.add_subcommand("build", "Make the reports of a period from the log");
  const auto options = std::make_shared<BuildOptions>();
  add_log_directory(*app, options->directory);
  app->add_option("--from", options->from,
                  "First moment: 2026-11-22, 2026-11-22T01:02:03Z, or 24h for that long ago")
      ->type_name("TIME");
  app->add_option("--to", options->to, "The moment after the last; default now")->type_name("TIME");
  app->add_option("--out", options->out, "The folder for the reports, made when it is not there")
      ->type_name("DIR")
      ->capture_default_str();
  app->add_option("--org", options->organization, "Who reports, for people; default the domain")
      ->type_name("NAME");
  app->add_option("--email", options->email,
                  "Whom to ask, and the sender; its domain names the receiver; default\n"
                  "postmaster at this host")
      ->type_name("ADDR");
  app->add_option("--rows-per-domain", options->limits.rows_per_domain, "Rows of one report")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{10'000'000}).description(""))
      ->capture_default_str();
  app->add_option("--rows-max", options->limits.rows, "Rows of all reports, for memory's sake")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{100'000'000}).description(""))
      ->capture_default_str();
  app->add_option("--domains-max", options->limits.domains, "Policy domains")
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{10'000'000}).description(""))
      ->capture_default_str();
  app->add_option("--passes-min", options->audience.passes_min,
                  "Only domains of which this many messages passed DMARC; 0 = all that ask")
      ->type_name("N")
      ->capture_default_str();
  app->add_option("--messages-min", options->audience.messages_min,
                  "Only domains with this many messages")
      ->type_name("N")
      ->capture_default_str();
  app->add_option("--per-day", options->audience.per_day,
                  "Reports made in a day (UTC); those about the most messages go first")
      ->type_name("N")
      ->capture_default_str();
  app->add_option("--allow", options->allow_file,
                  "Only about domains in this file, one a line, and below them")
      ->type_name("FILE");
  app->add_option("--deny", options->deny_file,
                  "Never about domains in this file or to addresses there")
      ->type_name("FILE");
  add_resolver(*app, options->resolver);
  app->add_flag("--json", options->json, "One JSON object");
  app->footer(
      "Anybody can ask for reports and send mail that fails; so only domains get one of which "
      "mail\n"
      "passed, and an address that refused a report for good (refused-addresses in --out) gets no\n"
      "other. Reports to strangers can still get an address onto block lists: send them from "
      "another\n"
      "than your mail goes out from.\n"
      "\n"
      "Without a period: the day before this one. Times are UTC. Each report is\n"
      "RECEIVER!DOMAIN!BEGIN!END!ID.xml.gz with a sheet beside it,\n"
      "which `report send` reads and keeps. The same mail gives the same report and the same "
      "name.\n"
      "The exit code is 1 when records could not be read or a file could not be written.");
  commands.push_back({app, [options] { return run_build(*options); }});
}

}  // namespace mxring::cli
