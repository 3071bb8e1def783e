// `mxring tune check`: one row a thing that the receiver needs or likes of this host, with what to
// do about it and, where seconds are enough, its effect measured here.
//
// Exit codes: 0 nothing stands in the way, 1 something would break the promise or the start.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/resolver_argument.h"
#include "cli/tune.h"
#include "dns/blocking.h"
#include "server/cpu_layout.h"
#include "tune/check.h"
#include "tune/check_report.h"

namespace mxring::cli {

namespace {

constexpr int kSteps = 8;  // of the progress line: the measurements, the resolver, the reading
constexpr int kResolverQuestions = 5;

struct CheckArguments {
  std::string file;
  std::string log_dir;
  ResolverArgument resolver{.servers = {}, .timeout = "2s"};
  bool no_disk = false;
  bool no_resolver = false;
  bool verbose = false;
  bool json = false;
};

tune::Receiver receiver_of(const server::Config& config) {
  tune::Receiver receiver;
  receiver.connections = config.limits.connections;
  receiver.memory_bytes = config.limits.memory_bytes;
  receiver.dns_cache_bytes = config.limits.dns_cache_bytes;
  receiver.buffer_bytes = config.shards.buffer_bytes;
  receiver.buffers_offered = config.shards.buffers_offered;
  receiver.segment_bytes = config.log.segment_bytes;
  receiver.disk_reserve_percent = config.limits.disk_reserve_percent;
  receiver.disk_reserve_segments = config.limits.disk_reserve_segments;
  receiver.durable = config.log.sync == server::SyncMode::kCommit;
  receiver.asks_dns = asks_dns(config);
  receiver.shard_cpus =
      server::lay_out_cpus(server::read_cpu_facts(), config.shards.count, config.shards.pin)
          .shard_cpus;
  receiver.listen = config.listen.smtp;
  receiver.listen.insert(receiver.listen.end(), config.listen.smtps.begin(),
                         config.listen.smtps.end());
  return receiver;
}

std::string resolver_name(const CheckArguments& arguments, const server::Config& config,
                          const tune::Host& host) {
  if (!arguments.resolver.servers.empty()) return arguments.resolver.servers.front();
  if (!config.dns.servers.empty()) return config.dns.servers.front().to_string();
  for (const std::string& line : host.lines("/etc/resolv.conf")) {
    const auto words = tune::split_words(line);
    if (words.size() >= 2 && words[0] == "nameserver") return words[1];
  }
  return "the system's";
}

// Names below "invalid" (RFC 6761) never exist, and a resolver knows that by itself: the answer's
// time is the way to the resolver and back. Each question is new, so no cache of ours answers it.
int ask_resolver(CheckArguments arguments, const server::Config& config, tune::Measured& measured) {
  if (arguments.resolver.servers.empty()) {
    for (const base::Endpoint& server : config.dns.servers) {
      arguments.resolver.servers.push_back(server.to_string());
    }
  }
  int exit_code = kDone;
  const auto resolver = open_resolver(arguments.resolver, exit_code);
  if (!resolver) return exit_code;
  for (int i = 0; i <= kResolverQuestions; ++i) {
    const auto name = dns::Name::parse_escaped(fmt::format("check-{}-{}.invalid", ::getpid(), i));
    const std::int64_t begin = base::read_clocks().mono.ns;
    const dns::AnswerPtr answer = resolver->ask({*name, dns::Type::kA});
    if (answer->is_failure()) {
      measured.resolver_problem =
          answer->status == dns::Status::kTimeout ? "does not answer" : "answers with failure";
      return kDone;
    }
    // The first opens sockets and wakes the resolver.
    if (i > 0) measured.resolver_ns.push_back(base::read_clocks().mono.ns - begin);
  }
  return kDone;
}

std::string headline(const tune::CheckInput& input) {
  std::string model = "unknown processor";
  for (const char* key : {"model name\t", "Model\t\t"}) {
    if (const auto found = input.host.field("/proc/cpuinfo", key)) {
      model = *found;
      break;
    }
  }
  const auto online = input.host.text("/sys/devices/system/cpu/online").value_or("");
  return fmt::format("{}, {} online, Linux {}\nlog directory {}", model,
                     base::counted(tune::parse_cpu_list(online).size(), "core"),
                     input.features.kernel, input.place.directory);
}

int run_check(const CheckArguments& arguments) {
  auto config = config_to_tune(arguments.file);
  if (!config) {
    complain(config.error());
    return kBadConfiguration;
  }
  if (!arguments.log_dir.empty()) config->log.dir = arguments.log_dir;

  tune::CheckInput input;
  input.receiver = receiver_of(*config);
  input.place = tune::find_log_place(config->log.dir);
  input.features = uring::probe();
  tune::MeasureOptions options;
  options.disk = !arguments.no_disk;
  options.directory = input.place.existing;
  options.free_bytes = input.place.free_bytes;
  options.buffer_bytes = input.receiver.buffer_bytes;
  options.buffers_offered = input.receiver.buffers_offered;
  Progress progress("measuring");
  int step = 0;
  const auto show = [&](std::string_view what) {
    progress.show(static_cast<double>(step++) / kSteps, what);
  };
  input.measured = tune::measure(options, show);
  input.measured.resolver = resolver_name(arguments, *config, input.host);
  if (input.receiver.asks_dns && !arguments.no_resolver) {
    show("the resolver");
    if (const int exit_code = ask_resolver(arguments, *config, input.measured);
        exit_code != kDone) {
      return exit_code;
    }
  }
  progress.clear();

  const std::vector<tune::Row> rows = tune::run_checks(input);
  const tune::ReportStyle style{arguments.verbose, colour_wanted(), output_columns()};
  Output output;
  output.write(arguments.json ? tune::check_json(rows)
                              : tune::check_table(rows, headline(input), style));
  output.flush();
  if (output.failed()) return kFailed;
  return tune::any_problem(rows) ? kFailed : kDone;
}

}  // namespace

void add_tune_check(CLI::App& tune, Commands& commands) {
  CLI::App* check =
      tune.add_subcommand("check", "What this host gives the receiver, what to change");
  const auto arguments = std::make_shared<CheckArguments>();
  check->add_option("-c,--config", arguments->file, "Configuration file (TOML) to check for")
      ->type_name("FILE");
  check->add_option("--log-dir", arguments->log_dir, "Directory of the log")->type_name("DIR");
  add_resolver(*check, arguments->resolver);
  check->add_flag("--no-disk", arguments->no_disk, "Write nothing to the disk");
  check->add_flag("--no-resolver", arguments->no_resolver, "Ask no resolver");
  check->add_flag("-v,--verbose", arguments->verbose, "Details of every row");
  check->add_flag("--json", arguments->json, "One JSON object");
  check->footer(
      "Changes nothing. Takes a few seconds: it measures commits with 32 MiB of nameless files\n"
      "beside the log, and how the host wakes, reads its clock and takes a burst of connections.\n"
      "Exit codes: 0 nothing stands in the way, 1 a problem would break the promise or the start.");
  commands.push_back({check, [arguments] { return run_check(*arguments); }});
}

}  // namespace mxring::cli
