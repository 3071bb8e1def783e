// `mxring tune sweep`: tries settings on this host, each in a receiver of its own under the
// built-in load, and says which are worth changing.
//
// Ctrl-C ends it; nothing is left behind but what was written before. Exit codes: 0 it was carried
// out, whatever it found; 1 it could not be.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/temporary_server.h"
#include "cli/tune.h"
#include "load/run.h"
#include "server/cpu_layout.h"
#include "tune/check.h"
#include "tune/sweep_report.h"

namespace mxring::cli {

namespace {

namespace fs = std::filesystem;

struct SweepArguments {
  std::string file;
  std::string log_dir;
  std::string out = "mxring-sweep";
  std::string time = "8m";
  std::string goal = "cpu";
  std::string size = "10KiB";
  std::uint32_t connections = 64;
  double gain = 3;
  std::vector<std::string> only;
  std::vector<std::string> tried;  // KEY=V1,V2
  bool json = false;
};

std::atomic<bool> g_stop{false};

void on_interrupt(int signal) {
  g_stop.store(true, std::memory_order_relaxed);
  std::signal(signal, SIG_DFL);
}

tune::Around around(const server::Config& config) {
  const server::CpuFacts facts = server::read_cpu_facts();
  tune::Around around;
  around.shards = static_cast<std::uint32_t>(
      server::lay_out_cpus(facts, config.shards.count, config.shards.pin).shard_cpus.size());
  around.cores = static_cast<std::uint32_t>(std::max<std::size_t>(facts.allowed.size(), 1));
  around.pinned = config.shards.pin;
  around.buffer_bytes = config.shards.buffer_bytes;
  around.buffers_offered = config.shards.buffers_offered;
  around.submission_entries = config.shards.submission_entries;
  around.completion_entries = config.shards.completion_entries;
  around.commit_window_ns = config.log.commit_window_ns;
  return around;
}

// The configuration with some keys set anew, by way of its text, so that every key can be tried.
std::expected<server::Config, std::string> with(const server::Config& config,
                                                const std::vector<tune::Assignment>& assignments) {
  std::string text = server::to_toml(config, false);
  for (const tune::Assignment& assignment : assignments) {
    const std::size_t dot = assignment.key.find('.');
    const std::size_t section = text.find(fmt::format("\n[{}]\n", assignment.key.substr(0, dot)));
    const std::size_t key =
        dot == std::string::npos || section == std::string::npos
            ? std::string::npos
            : text.find(fmt::format("\n{} = ", assignment.key.substr(dot + 1)), section + 1);
    if (key == std::string::npos || key > text.find("\n[", section + 1)) {
      return std::unexpected(fmt::format("no such key: {}", base::escaped(assignment.key)));
    }
    const std::size_t end = text.find('\n', key + 1);
    text.replace(key + 1, end - key - 1,
                 fmt::format("{} = {}", assignment.key.substr(dot + 1), assignment.value));
  }
  auto parsed = server::parse_config(text, "sweep");
  if (!parsed) return std::unexpected(parsed.error().message);
  if (const auto valid = server::validate(*parsed); !valid) {
    return std::unexpected(valid.error().message);
  }
  return *std::move(parsed);
}

// One receiver, warmed up, under load for a while.
class ServerRunner {
 public:
  ServerRunner(server::Config config, std::string parent, load::Options load)
      : config_(std::move(config)), parent_(std::move(parent)), load_(std::move(load)) {}

  std::expected<tune::Sample, std::string> operator()(const tune::RunRequest& request) const {
    const auto config = with(config_, request.assignments);
    if (!config) return std::unexpected(config.error());
    auto server = TemporaryServer::start(*config, parent_);
    if (!server) return std::unexpected(server.error());
    load::Options options = load_;
    options.server = (*server)->smtp();
    options.server_pid = (*server)->pid();
    options.duration_ns = kWarmUpNs;
    if (auto warm = run_once(options); !warm) return std::unexpected(warm.error());
    options.duration_ns = request.duration_ns;
    if (request.offered_rate) {
      options.rate =
          load::Rate::parse(fmt::format("{:.0f}/s", std::max(*request.offered_rate, 1.0)));
    }
    const auto results = run_once(options);
    if (!results) return std::unexpected(results.error());
    if (const auto stopped = (*server)->stop(); !stopped) return std::unexpected(stopped.error());
    tune::Sample sample;
    sample.cpu_us = results->server_cpu ? results->server_cpu->total_us : 0;
    sample.rate = results->rate;
    sample.p50_us = static_cast<double>(results->latency_ns->percentile(0.5)) / 1000;
    sample.p99_us = static_cast<double>(results->latency_ns->percentile(0.99)) / 1000;
    return sample;
  }

 private:
  static constexpr std::int64_t kWarmUpNs = 150 * base::kNsPerMs;

  static std::expected<load::Results, std::string> run_once(const load::Options& options) {
    // On a busy host the time may be over before a worker had a turn.
    constexpr int kAttempts = 5;
    auto results = load::run_load(options, {});
    for (int i = 1; i < kAttempts && results && results->sent == 0; ++i) {
      results = load::run_load(options, {});
    }
    if (g_stop.load(std::memory_order_relaxed)) return std::unexpected("interrupted");
    if (!results) return std::unexpected(results.error());
    if (results->sent == 0) return std::unexpected("this host is too busy: no message was sent");
    if (!results->failure.empty()) return std::unexpected(results->failure);
    if (results->accepted != results->sent) {
      return std::unexpected(
          fmt::format("{} of {} not accepted", results->not_accepted(),
                      base::counted(results->sent, "message was", "messages were")));
    }
    return results;
  }

  server::Config config_;
  std::string parent_;
  load::Options load_;
};

// The settings named by --only, then those of --try; an error names what is not there.
std::expected<std::vector<tune::Setting>, std::string> chosen(const SweepArguments& arguments,
                                                              const server::Config& config) {
  std::vector<tune::Setting> all = tune::settings_around(around(config));
  std::vector<tune::Setting> settings;
  std::vector<std::string> keys;
  for (const tune::Setting& setting : all) {
    keys.push_back(setting.key);
    const bool wanted = arguments.only.empty() ? arguments.tried.empty()
                                               : std::ranges::find(arguments.only, setting.key) !=
                                                     arguments.only.end();
    if (wanted && !setting.values.empty()) settings.push_back(setting);
  }
  for (const std::string& key : arguments.only) {
    if (std::ranges::find(keys, key) != keys.end()) continue;
    const std::string_view near = base::nearest(key, keys);
    return std::unexpected(fmt::format(
        "--only {}: not one of those that are varied{}; --try varies any key", base::escaped(key),
        near.empty() ? "" : fmt::format(", did you mean {}?", near)));
  }
  for (const std::string& text : arguments.tried) {
    const std::size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return std::unexpected(fmt::format("--try {}: write KEY=VALUE,VALUE", base::escaped(text)));
    }
    tune::Setting setting{text.substr(0, equals), "", {}, "", ""};
    std::string rest = text.substr(equals + 1);
    for (std::size_t comma = 0; comma != std::string::npos;) {
      comma = rest.find(',');
      std::string value = rest.substr(0, comma);
      if (comma != std::string::npos) rest.erase(0, comma + 1);
      // Words need quotes in TOML; numbers and truth values do not.
      if (auto bare = with(config, {{setting.key, value}}); !bare) {
        const std::string quoted = fmt::format("\"{}\"", value);
        if (auto again = with(config, {{setting.key, quoted}}); !again) {
          return std::unexpected(fmt::format("--try {}: {}", base::escaped(text), again.error()));
        }
        value = quoted;
      }
      setting.values.push_back(value);
    }
    settings.push_back(std::move(setting));
  }
  return settings;
}

// What cannot be measured here is set aside: names that nobody has, and DNS.
server::Config prepared(server::Config config, const ScratchFolder& folder) {
  const server::Config plain = config_for_measuring(folder);
  config.hostname = plain.hostname;
  config.listen = plain.listen;
  config.auth = plain.auth;
  config.recipients = {};
  config.tls = {};
  config.log.retain_bytes = plain.log.retain_bytes;
  config.log.segment_bytes = std::min(config.log.segment_bytes, plain.log.segment_bytes);
  config.limits.disk_reserve_percent = plain.limits.disk_reserve_percent;
  config.limits.disk_reserve_segments = plain.limits.disk_reserve_segments;
  if (!folder.durable) config.log.sync = server::SyncMode::kNone;
  config.set_at.clear();
  return config;
}

// Two runs of half a second each, beside what it takes to start a receiver, and six or more of
// every value: below this nobody needs to try.
constexpr std::int64_t kTimeMinNs = 15 * base::kNsPerSecond;
constexpr std::int64_t kTimeAdvisedNs = 60 * base::kNsPerSecond;

std::string too_short(const SweepArguments& arguments, std::string_view why,
                      std::int64_t needed_ns) {
  constexpr std::int64_t kStepNs = 10 * base::kNsPerSecond;
  const std::int64_t advised_ns =
      std::max((needed_ns + kStepNs - 1) / kStepNs * kStepNs, kTimeAdvisedNs);
  return fmt::format("--time {} is too short {}; give {}s or more", base::escaped(arguments.time),
                     why, advised_ns / base::kNsPerSecond);
}

void tell_plan(const SweepArguments& arguments, const tune::SweepPlan& plan) {
  std::string text = fmt::format("{} of {} fit into {}, about {}; Ctrl-C ends it",
                                 base::counted(plan.variants, "variant"),
                                 base::counted(plan.settings.size(), "setting"), arguments.time,
                                 base::counted(plan.rounds, "round"));
  if (plan.variants_left_out > 0) {
    text += fmt::format("; {} of {} do not", base::counted(plan.variants_left_out, "variant"),
                        fmt::join(plan.left_out, ", "));
  }
  complain(text);
}

struct Plan {
  tune::SweepOptions options;
  server::Config config;
  ScratchFolder folder;
  load::Options load;
};

std::expected<Plan, int> make_plan(const SweepArguments& arguments) {
  Plan plan;
  const auto usage = [](const std::string& text) {
    complain(text);
    return std::unexpected(int{kUsage});
  };
  const auto config = config_to_tune(arguments.file);
  if (!config) {
    complain(config.error());
    return std::unexpected(int{kBadConfiguration});
  }
  const std::string wanted = !arguments.log_dir.empty() ? arguments.log_dir
                             : arguments.file.empty()   ? ""
                                                        : config->log.dir;
  if (wanted.empty()) {
    plan.folder = scratch_folder();
  } else {
    const tune::LogPlace place = tune::find_log_place(wanted);
    if (!place.problem.empty()) return usage(place.problem);
    plan.folder = {place.existing, place.unfit.empty()};
  }
  plan.config = prepared(*config, plan.folder);
  if (const auto problem = base::duration_problem(arguments.time); !problem.empty()) {
    return usage(fmt::format("--time {}: {}", base::escaped(arguments.time), problem));
  }
  const auto time_ns = base::parse_duration_ns(arguments.time);
  if (*time_ns < kTimeMinNs)
    return usage(too_short(arguments, "for one measurement", kTimeAdvisedNs));
  const auto size = load::SizeDistribution::parse(arguments.size);
  if (!size) return usage(fmt::format("--size {}: write 10KiB", base::escaped(arguments.size)));
  auto settings = chosen(arguments, plan.config);
  if (!settings) return usage(settings.error());
  plan.options.settings = *std::move(settings);
  plan.options.time_ns = *time_ns;
  plan.options.rule.least_gain = arguments.gain / 100;
  for (const tune::Goal goal : {tune::Goal::kCpu, tune::Goal::kRate, tune::Goal::kP99}) {
    if (arguments.goal == tune::word(goal)) plan.options.rule.goal = goal;
  }
  plan.load.connections = arguments.connections;
  plan.load.content.size = *size;
  plan.load.content.rcpt_to = {*load::AddressPattern::parse("recipient@sink.example", false)};
  plan.load.stop = &g_stop;
  return plan;
}

bool write_file(const std::string& directory, const char* name, const std::string& text) {
  std::ofstream file(directory + "/" + name);
  file << text;
  file.close();
  if (file) return true;
  complain(fmt::format("{}/{} could not be written", directory, name));
  return false;
}

int report(const SweepArguments& arguments, const Plan& plan, const tune::SweepResult& result) {
  const std::string subtitle = fmt::format("{} a message, {}, {}, {}", arguments.size,
                                           base::counted(arguments.connections, "connection"),
                                           plan.folder.durable ? "durable" : "not durable",
                                           base::counted(around(plan.config).cores, "core"));
  const std::string fragment = tune::sweep_toml(result, plan.options);
  bool written =
      write_file(arguments.out, "sweep.csv", tune::sweep_csv(result)) &&
      write_file(arguments.out, "p99.svg", tune::to_svg(tune::sweep_chart(result, subtitle)));
  std::string names = "sweep.csv, p99.svg";
  std::error_code ignored;
  fs::remove(arguments.out + "/recommended.toml", ignored);  // of an earlier sweep
  if (!fragment.empty()) {
    written = written && write_file(arguments.out, "recommended.toml", fragment);
    names += ", recommended.toml";
  }
  Output output;
  if (arguments.json) {
    output.write(tune::sweep_json(result, plan.options));
  } else {
    output.write(tune::sweep_table(result, plan.options));
    if (!fragment.empty()) output.write("\n" + fragment);
    output.write(fmt::format("\nwritten to {}: {}\n", arguments.out, names));
  }
  output.flush();
  return written && !output.failed() ? kDone : kFailed;
}

int run_sweep(const SweepArguments& arguments) {
  const auto plan = make_plan(arguments);
  if (!plan) return plan.error();
  std::error_code error;
  fs::create_directories(arguments.out, error);
  if (::access(arguments.out.c_str(), W_OK) != 0) {
    complain(fmt::format("{}: no folder that can be written to (--out)", arguments.out));
    return kFailed;
  }
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  Progress line("sweep");
  tune::Sweep sweep(
      plan->options, ServerRunner(plan->config, plan->folder.path, plan->load),
      [] { return base::read_clocks().mono.ns; },
      [&line](const tune::SweepProgress& progress) {
        const std::int64_t left_s = progress.left_ns / base::kNsPerSecond;
        line.show(std::min(progress.fraction, 1.0),
                  fmt::format("{}:{:02} left  {}", left_s / 60, left_s % 60, progress.doing));
      });
  sweep.on_plan([&](const tune::SweepPlan& fits) {
    line.clear();
    tell_plan(arguments, fits);
  });
  const auto result = sweep.run();
  line.clear();
  if (!result) {
    if (const auto needed_ns = sweep.time_needed_ns()) {
      complain(too_short(arguments, fmt::format("here: {}", result.error()), *needed_ns));
      return kUsage;
    }
    complain(result.error());
    return kFailed;
  }
  return report(arguments, *plan, *result);
}

}  // namespace

void add_tune_sweep(CLI::App& tune, Commands& commands) {
  CLI::App* sweep = tune.add_subcommand("sweep", "Try settings here, say which are worth changing");
  const auto arguments = std::make_shared<SweepArguments>();
  sweep->add_option("-c,--config", arguments->file, "Configuration file (TOML) to start from")
      ->type_name("FILE");
  sweep->add_option("--time", arguments->time, "For all of it; default 8m")->type_name("TIME");
  sweep
      ->add_option("--goal", arguments->goal,
                   "What is to be better, the others not being worse: CPU a message\n"
                   "(the default), messages a second, or p99 latency")
      ->check(CLI::IsMember({"cpu", "rate", "p99"}).description(""))
      ->type_name("cpu|rate|p99");
  sweep->add_option("--gain", arguments->gain, "Least gain worth a change, percent; default 3")
      ->check(CLI::Range(0.0, 100.0).description(""))
      ->type_name("N");
  sweep->add_option("--only", arguments->only, "Vary only this key; repeatable")->type_name("KEY");
  sweep->add_option("--try", arguments->tried, "Vary any key over these values; repeatable")
      ->type_name("KEY=V,V");
  sweep->add_option("--connections", arguments->connections, "Of the load; default 64")
      ->check(CLI::Range(1U, 10'000U).description(""))
      ->type_name("N");
  sweep->add_option("--size", arguments->size, "Of a message; default 10KiB")->type_name("BYTES");
  sweep->add_option("--log-dir", arguments->log_dir, "On the disk to be measured; else log.dir")
      ->type_name("DIR");
  sweep->add_option("--out", arguments->out, "Folder for the results; default mxring-sweep")
      ->type_name("DIR");
  sweep->add_flag("--json", arguments->json, "One JSON object");
  for (const char* repeatable : {"--only", "--try"}) {
    sweep->get_option(repeatable)
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  }
  sweep->footer(
      "Every measurement starts a receiver of its own on loopback, in a temporary folder beside\n"
      "the log, with SPF, DKIM and DMARC off. Nothing is changed: the lines to add to the\n"
      "configuration are printed and written to recommended.toml, when there are any.");
  commands.push_back({sweep, [arguments] { return run_sweep(*arguments); }});
}

}  // namespace mxring::cli
