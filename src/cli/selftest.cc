// `mxring selftest`: would a receiver with this configuration work here? Looks at the kernel, the
// disk, the clock, DNS and the certificates, then starts a receiver of its own on loopback, with a
// log beside the configured one, and sends it mail, in the clear and over TLS. Changes nothing, and
// a receiver that runs meanwhile is not touched.
//
// Exit codes: 0 it would, 1 something failed, 78 bad configuration.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/timex.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/diagnosis.h"
#include "cli/output.h"
#include "cli/resolver_argument.h"
#include "cli/temporary_server.h"
#include "cli/tune.h"
#include "dns/blocking.h"
#include "load/run.h"
#include "net/tls_client.h"
#include "server/certificates.h"
#include "tune/check.h"
#include "uring/probe.h"

namespace mxring::cli {

namespace {

struct SelftestArguments {
  std::string file;
  ResolverArgument resolver{.servers = {}, .timeout = "2s"};
  bool json = false;
};

enum class Verdict { kOk, kWarning, kFailed };
std::string_view word(Verdict verdict) {
  return verdict == Verdict::kOk ? "ok" : verdict == Verdict::kWarning ? "warning" : "failed";
}

struct Finding {
  std::string check;
  Verdict verdict = Verdict::kOk;
  std::string said;
  std::string advice;  // what to do next; "" when it is ok
};
using Findings = std::vector<Finding>;

void check_rings(const server::Config& config, Findings& findings) {
  const uring::Features features = uring::probe();
  if (features.usable && features.receive_multishot) {
    findings.push_back({"io_uring", Verdict::kOk, "Linux " + features.kernel, ""});
  } else if (config.shards.engine == uring::EngineChoice::kIoUring) {
    findings.push_back({"io_uring", Verdict::kFailed, features.problem,
                        "or set shards.engine = \"auto\", which then receives on epoll"});
  } else {
    findings.push_back({"io_uring", Verdict::kWarning, features.problem,
                        "it receives on epoll meanwhile, at more processor time a message"});
  }
}

// One write, made durable, in a nameless file where the log is or would be.
std::expected<std::int64_t, std::string> sync_once(const std::string& folder) {
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return std::unexpected(fmt::format("{}: {}", folder, std::strerror(errno)));
  const std::string block(4096, 'x');
  const std::int64_t began_ns = base::read_clocks().mono.ns;
  const bool done = ::pwrite(fd, block.data(), block.size(), 0) == 4096 && ::fdatasync(fd) == 0;
  const int error = errno;
  const std::int64_t took_ns = base::read_clocks().mono.ns - began_ns;
  ::close(fd);
  if (!done) return std::unexpected(fmt::format("{}: {}", folder, std::strerror(error)));
  return took_ns;
}

void check_disk(const server::Config& config, Findings& findings) {
  const tune::LogPlace place = tune::find_log_place(config.log.dir);
  if (!place.problem.empty() || place.existing.empty()) {
    findings.push_back({"disk", Verdict::kFailed, place.problem,
                        fmt::format("install -d -m 750 -o USER {}", config.log.dir)});
    return;
  }
  if (!place.unfit.empty()) {
    findings.push_back({"disk", Verdict::kFailed,
                        fmt::format("{} is on {}, which keeps nothing through a power failure",
                                    place.existing, place.unfit),
                        "put log.dir on ext4, xfs or btrfs"});
    return;
  }
  const auto synced = sync_once(place.existing);
  const std::string room = fmt::format("{} free of {}", base::format_bytes(place.free_bytes),
                                       base::format_bytes(place.total_bytes));
  const std::uint64_t reserve =
      std::max(place.total_bytes / 100 * config.limits.disk_reserve_percent,
               config.log.segment_bytes * config.limits.disk_reserve_segments);
  if (!synced) {
    findings.push_back({"disk", Verdict::kFailed, synced.error(), "look at the disk (dmesg)"});
  } else if (place.free_bytes <= reserve) {
    findings.push_back({"disk", Verdict::kFailed,
                        fmt::format("{}: mail would be put off (limits.disk_reserve_*)", room),
                        "make room, or lower the reserve"});
  } else {
    const bool slow = *synced > 250 * base::kNsPerMs;
    findings.push_back({"disk", slow ? Verdict::kWarning : Verdict::kOk,
                        fmt::format("{}; a sync takes {}", room, base::format_duration(*synced)),
                        slow ? "every client waits for it: look for the disk's other users" : ""});
  }
}

void check_clock(Findings& findings) {
  timex state{};
  const int kept = ::adjtimex(&state);
  const std::string now = base::format_wall_time(base::read_clocks().wall.us);
  const bool synchronised = kept >= 0 && kept != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
  findings.push_back({"clock", synchronised ? Verdict::kOk : Verdict::kWarning, now,
                      synchronised ? ""
                                   : "nobody keeps it (chrony, systemd-timesyncd): signatures and "
                                     "certificates are judged by it"});
}

int check_dns(SelftestArguments arguments, const server::Config& config, Findings& findings) {
  if (arguments.resolver.servers.empty()) {
    for (const base::Endpoint& server : config.dns.servers) {
      arguments.resolver.servers.push_back(server.to_string());
    }
  }
  int exit_code = kDone;
  const auto resolver = open_resolver(arguments.resolver, exit_code);
  if (!resolver) return exit_code;
  const auto ask = [&](const std::string& text, dns::Type type) {
    const auto name = dns::Name::parse_escaped(text);
    return name ? resolver->ask({*name, type}) : nullptr;
  };
  const std::int64_t began_ns = base::read_clocks().mono.ns;
  const auto probe = ask(fmt::format("selftest-{}.invalid", ::getpid()), dns::Type::kA);
  const std::int64_t took_ns = base::read_clocks().mono.ns - began_ns;
  if (probe == nullptr || probe->is_failure()) {
    findings.push_back(
        {"DNS", Verdict::kFailed,
         fmt::format("the resolver: {}", probe ? dns::status_word(probe->status) : "no answer"),
         "name one that answers in dns.servers; until then every verdict is a temperror"});
    return kDone;
  }
  findings.push_back(
      {"DNS", Verdict::kOk, fmt::format("answers within {}", base::format_duration(took_ns)), ""});
  std::array<char, 256> own{};
  ::gethostname(own.data(), own.size() - 1);
  const std::string hostname = config.hostname.empty() ? own.data() : config.hostname;
  const auto v4 = ask(hostname, dns::Type::kA);
  const auto v6 = ask(hostname, dns::Type::kAaaa);
  const std::size_t found = (v4 ? v4->addresses.size() : 0) + (v6 ? v6->addresses.size() : 0);
  findings.push_back({"host name", found > 0 ? Verdict::kOk : Verdict::kWarning,
                      fmt::format("{}: {}", hostname,
                                  found > 0 ? base::counted(found, "address", "addresses")
                                            : std::string("no address in DNS")),
                      found > 0 ? "" : "an MX record must lead to a name that has one"});
  return kDone;
}

void check_tls(const server::Config& config, Findings& findings) {
  std::string warnings;
  const auto checked = server::check_certificates(config, [&warnings](const std::string& line) {
    warnings += warnings.empty() ? line : "; " + line;
  });
  if (!checked) {
    findings.push_back({"certificate", Verdict::kFailed, checked.error(),
                        "mxring serve -c FILE -t says the line; mend it, then reload"});
  } else if (config.tls.certificate.empty() && config.tls.certificates.empty()) {
    findings.push_back({"certificate", Verdict::kWarning, "self-signed: encrypts, proves nothing",
                        "set tls.certificate and tls.key for senders that check (MTA-STS, DANE)"});
  } else {
    findings.push_back({"certificate", warnings.empty() ? Verdict::kOk : Verdict::kWarning,
                        warnings.empty() ? "loads, and its key fits" : warnings,
                        warnings.empty() ? "" : "renew it, then mxring ctl reload"});
  }
}

std::string status_field(int pid, std::string_view key) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return line.substr(line.find_last_of(" \t") + 1);
  }
  return {};
}

void deliver(const TemporaryServer& server, load::Tls tls, Findings& findings) {
  load::Options options;
  options.server = tls == load::Tls::kImplicit ? server.smtps() : server.smtp();
  options.connections = 1;
  options.messages = 3;
  options.tls = tls;
  options.time_limit_ns = 60 * base::kNsPerSecond;
  options.content.rcpt_to.push_back(*load::AddressPattern::parse("selftest@mx.example", false));
  options.content.run_id = "selftest";
  if (tls != load::Tls::kNone) {
    auto client = net::TlsClient::create({});
    if (client) options.tls_client = *std::move(client);
  }
  const std::string name = tls == load::Tls::kNone ? "mail" : "mail over TLS";
  const auto results = load::run_load(options, {});
  const std::string problem = !results                    ? results.error()
                              : !results->failure.empty() ? results->failure
                              : results->accepted != 3    ? "not accepted"
                                                          : "";
  if (!problem.empty()) {
    findings.push_back({name, Verdict::kFailed, problem, "mxring bundle collects what to report"});
    return;
  }
  const auto slowest_ns = static_cast<std::int64_t>(results->latency_ns->percentile(1.0));
  findings.push_back({name, Verdict::kOk,
                      fmt::format("three messages taken and durable, the slowest within {}",
                                  base::format_duration(slowest_ns)),
                      ""});
}

// The receiver's limits, certificates, shards and engine; an own log, open to everybody on
// loopback.
void check_delivery(const server::Config& config, Findings& findings) {
  const ScratchFolder folder = scratch_folder();
  server::Config trial = config_for_measuring(folder);
  trial.limits.memory_bytes = config.limits.memory_bytes;
  trial.limits.message_bytes = config.limits.message_bytes;
  trial.shards = config.shards;
  trial.tls = config.tls;
  trial.listen.smtps = trial.listen.smtp;
  auto server = TemporaryServer::start(trial, folder.path);
  if (!server) {
    findings.push_back({"start", Verdict::kFailed, server.error(), "the line says what to change"});
    return;
  }
  const bool confined = status_field((*server)->pid(), "Seccomp:") == "2" &&
                        status_field((*server)->pid(), "NoNewPrivs:") == "1";
  findings.push_back({"sandbox", confined ? Verdict::kOk : Verdict::kWarning,
                      confined ? "system calls are filtered" : "system calls are not filtered",
                      confined ? "" : "the kernel or the container allows no seccomp filter"});
  deliver(**server, load::Tls::kNone, findings);
  deliver(**server, load::Tls::kStartTls, findings);
  if (const auto stopped = (*server)->stop(); !stopped) {
    findings.push_back({"drain", Verdict::kFailed, stopped.error(), "mxring bundle"});
  } else {
    findings.push_back({"drain", Verdict::kOk, "ends when told to", ""});
  }
}

std::string as_json(const Findings& findings, bool ok) {
  base::JsonWriter json;
  json.begin_object().key("ok").value(ok).key("checks").begin_array();
  for (const Finding& finding : findings) {
    json.begin_object().key("check").value(finding.check);
    json.key("verdict").value(word(finding.verdict)).key("said").value(finding.said);
    json.key("do");
    finding.advice.empty() ? json.null() : json.value(finding.advice);
    json.end_object();
  }
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

std::string as_table(const Findings& findings, bool ok) {
  std::string text;
  for (const Finding& finding : findings) {
    text += fmt::format("{:<14} {:<8} {}\n", finding.check, word(finding.verdict),
                        base::without_controls(finding.said));
    if (!finding.advice.empty()) {
      text += fmt::format("{:<14} {:<8} -> {}\n", "", "", finding.advice);
    }
  }
  return text + (ok ? "A receiver with this configuration would work here.\n"
                    : "Something failed: what to do stands beside it.\n");
}

int run_selftest(const SelftestArguments& arguments) {
  const auto config = config_to_tune(arguments.file);
  if (!config) {
    complain(config.error());
    return kBadConfiguration;
  }
  Findings findings;
  check_rings(*config, findings);
  check_disk(*config, findings);
  check_clock(findings);
  if (const int code = check_dns(arguments, *config, findings); code != kDone) return code;
  check_tls(*config, findings);
  check_delivery(*config, findings);
  const bool ok = std::ranges::none_of(
      findings, [](const Finding& finding) { return finding.verdict == Verdict::kFailed; });
  Output output;
  output.write(arguments.json ? as_json(findings, ok) : as_table(findings, ok));
  output.flush();
  return ok && !output.failed() ? kDone : kFailed;
}

}  // namespace

void add_selftest(CLI::App& program, Commands& commands) {
  CLI::App* selftest = program.add_subcommand("selftest", "Would a receiver work here? Try it");
  const auto arguments = std::make_shared<SelftestArguments>();
  selftest->add_option("-c,--config", arguments->file, "Configuration file (TOML) to try")
      ->type_name("FILE");
  add_resolver(*selftest, arguments->resolver);
  selftest->add_flag("--json", arguments->json, "One JSON object");
  selftest->footer(
      "Starts a receiver of its own on loopback, with a log in a temporary folder, and sends it\n"
      "mail in the clear and over TLS; a receiver that runs is not touched. Exit codes: 0 it "
      "would\n"
      "work, 1 something failed, 78 bad configuration.");
  commands.push_back({selftest, [arguments] { return run_selftest(*arguments); }});
}

}  // namespace mxring::cli
