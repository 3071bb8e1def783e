#include "load/run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/units.h"
#include "load/process_cpu.h"
#include "load/worker.h"

namespace mxring::load {

namespace {

constexpr std::int64_t kPollNs = 10 * base::kNsPerMs;
constexpr std::int64_t kProgressEveryNs = 100 * base::kNsPerMs;
constexpr std::int64_t kRateWindowNs = base::kNsPerSecond;
constexpr std::int64_t kStartInNs = 2 * base::kNsPerMs;

using Workers = std::vector<std::unique_ptr<Worker>>;

void nap(std::int64_t ns) {
  std::this_thread::sleep_for(std::chrono::nanoseconds(ns));
}

std::int64_t mono_ns() {
  return base::read_clocks().mono.ns;
}

// No more connections than messages, no more threads than connections.
void normalise(Options& options) {
  if (options.messages) {
    options.connections = static_cast<std::uint32_t>(
        std::clamp<std::uint64_t>(*options.messages, 1, options.connections));
  }
  options.threads = std::clamp(options.threads, 1U, options.connections);
  if (options.content.run_id.empty()) {
    options.content.run_id = fmt::format("{:x}.{:x}", base::read_clocks().wall.us, ::getpid());
  }
}

std::string why_unconnected(const Workers& workers, const base::Endpoint& server) {
  for (const auto& worker : workers) {
    if (!worker->set_up_error().empty()) return worker->set_up_error();
  }
  for (const auto& worker : workers) {
    const std::string& failure = worker->tally().first_failure;
    if (!failure.empty()) return fmt::format("no session with {}: {}", server.to_string(), failure);
  }
  return fmt::format("no session with {}", server.to_string());
}

class Watch {
 public:
  Watch(const Options& options, const Workers& workers, std::int64_t start_ns)
      : options_(options), workers_(workers), start_ns_(start_ns), window_start_ns_(start_ns) {}

  Progress look() {
    std::uint64_t accepted = 0;
    Progress progress;
    obs::Histogram latency;
    std::uint64_t sent = 0;
    for (const auto& worker : workers_) {
      const Tally& tally = worker->tally();
      accepted += tally.accepted.load(std::memory_order_relaxed);
      sent += tally.sent.load(std::memory_order_relaxed);
      progress.failed += tally.rejected.load(std::memory_order_relaxed) +
                         tally.lost.load(std::memory_order_relaxed);
      latency.merge(tally.latency_ns);
    }
    const std::int64_t now = mono_ns();
    const std::int64_t window = now - window_start_ns_;
    if (window > 0) {
      rate_ = static_cast<double>(accepted - window_accepted_) * 1e9 / static_cast<double>(window);
    }
    if (window >= kRateWindowNs) {
      window_start_ns_ = now;
      window_accepted_ = accepted;
    }
    progress.rate = rate_;
    progress.p50_ns = latency.percentile(0.5);
    progress.p99_ns = latency.percentile(0.99);
    progress.fraction =
        options_.messages
            ? static_cast<double>(sent) / static_cast<double>(*options_.messages)
            : static_cast<double>(now - start_ns_) / static_cast<double>(options_.duration_ns);
    return progress;
  }

 private:
  const Options& options_;
  const Workers& workers_;
  std::int64_t start_ns_;
  std::int64_t window_start_ns_;
  std::uint64_t window_accepted_ = 0;
  double rate_ = 0;
};

void add(CodeCounts& sums, const CodeCounts& counts) {
  for (const auto& [code, entry] : counts) {
    CodeCount& sum = sums[code];
    sum.count += entry.count;
    if (sum.example.empty()) sum.example = entry.example;
  }
}

void add(Results& results, const Worker& worker) {
  const Tally& tally = worker.tally();
  results.sent += tally.sent.load();
  results.accepted += tally.accepted.load();
  results.rejected += tally.rejected.load();
  results.lost += tally.lost.load();
  results.recipients += tally.recipients;
  results.connections += tally.connections;
  results.acknowledged += tally.acknowledged;
  results.latency_ns->merge(tally.latency_ns);
  add(results.codes, tally.codes);
  add(results.recipient_codes, tally.recipient_codes);
  for (std::size_t i = 0; i < tally.losses.size(); ++i) results.losses[i] += tally.losses[i];
}

void add_notes(Results& results, const Options& options, const Workers& workers,
               std::uint32_t connected) {
  if (connected < options.connections) {
    results.notes.push_back(fmt::format("{} of {} connections could not be opened at the start",
                                        options.connections - connected, options.connections));
  }
  bool lacked_pipelining = false;
  for (const auto& worker : workers) {
    lacked_pipelining |= worker->lacked_pipelining();
    if (worker->over_time()) results.failure = "the time limit was reached before the end";
    if (worker->gave_up()) {
      results.failure = fmt::format("gave up: no reply from {} for {}", options.server.to_string(),
                                    base::format_duration(options.give_up_ns()));
    }
  }
  if (lacked_pipelining) {
    results.notes.push_back("the server does not offer PIPELINING; commands were sent one by one");
  }
  if (results.accepted == 0 && results.failure.empty()) results.failure = "nothing was accepted";
}

Results collect(const Options& options, const Workers& workers, std::int64_t start_ns,
                std::uint32_t connected, const std::optional<ProcessCpu>& before,
                const std::optional<ProcessCpu>& after) {
  Results results;
  results.latency_ns = std::make_unique<obs::Histogram>();
  std::int64_t end_ns = start_ns;
  std::int64_t cpu_ns = 0;
  std::uint64_t bytes = 0;
  for (const auto& worker : workers) {
    add(results, *worker);
    end_ns = std::max(end_ns, worker->last_decision_ns());
    cpu_ns += worker->cpu_ns();
    bytes += worker->tally().content_bytes.load();
  }
  results.seconds = static_cast<double>(end_ns - start_ns) * 1e-9;
  if (results.seconds > 0) {
    results.rate = static_cast<double>(results.accepted) / results.seconds;
    results.content_bytes_per_second = static_cast<double>(bytes) / results.seconds;
  }
  const double per_message = results.sent == 0 ? 0 : 1 / static_cast<double>(results.sent);
  results.client_cpu_us = static_cast<double>(cpu_ns) * 1e-3 * per_message;
  if (before && after) {
    const double scale = 1e6 * per_message;
    results.server_cpu = ServerCpu{(after->total_seconds - before->total_seconds) * scale,
                                   (after->user_seconds - before->user_seconds) * scale,
                                   (after->system_seconds - before->system_seconds) * scale};
  } else if (options.server_pid != 0) {
    results.notes.push_back(
        fmt::format("the CPU time of process {} could not be read", options.server_pid));
  }
  add_notes(results, options, workers, connected);
  return results;
}

}  // namespace

std::expected<Results, std::string> run_load(Options options,
                                             const std::function<void(const Progress&)>& progress) {
  normalise(options);
  const auto source = MessageSource::create(options.content, options.message_paths);
  if (!source) return std::unexpected(source.error());

  RunControl control;
  Workers workers;
  for (std::uint32_t i = 0; i < options.threads; ++i) {
    workers.push_back(std::make_unique<Worker>(options, *source, control, i));
    workers.back()->start();
  }
  while (control.workers_connected.load(std::memory_order_acquire) < options.threads) nap(kPollNs);
  std::uint32_t connected = 0;
  bool ready = options.stop == nullptr || !options.stop->load(std::memory_order_relaxed);
  for (const auto& worker : workers) {
    connected += worker->connected();
    ready &= worker->set_up_error().empty();
  }
  if (!ready || connected == 0) {
    control.start_ns.store(RunControl::kAbandoned, std::memory_order_release);
    for (const auto& worker : workers) worker->join();
    return std::unexpected(why_unconnected(workers, options.server));
  }

  const auto cpu_of_server = [&options] {
    return options.server_pid == 0 ? std::nullopt : read_process_cpu(options.server_pid);
  };
  const auto before = cpu_of_server();
  const std::int64_t start_ns = mono_ns() + kStartInNs;
  control.start_ns.store(start_ns, std::memory_order_release);
  Watch watch(options, workers, start_ns);
  std::int64_t next_progress_ns = start_ns + kProgressEveryNs;
  while (control.workers_done.load(std::memory_order_acquire) < options.threads) {
    nap(kPollNs);
    if (!progress || mono_ns() < next_progress_ns) continue;
    next_progress_ns += kProgressEveryNs;
    progress(watch.look());
  }
  const auto after = cpu_of_server();
  for (const auto& worker : workers) worker->join();
  Results results = collect(options, workers, start_ns, connected, before, after);
  if (source->signed_messages() != 0) {
    results.notes.push_back(fmt::format(
        "{} signed before the start, and sent in turn",
        base::counted(source->signed_messages(), "message was", "different messages were")));
  }
  if (!source->skipped().empty()) results.notes.push_back(source->skipped());
  return results;
}

}  // namespace mxring::load
