#include "tune/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/assert.h"
#include "base/clock.h"
#include "base/units.h"

namespace mxring::tune {

namespace {

using base::kNsPerMs;
using base::kNsPerSecond;

// Shares of the time: up to where each part may go.
constexpr double kScreenUntil = 0.55;
constexpr double kConfirmUntil = 0.80;
static_assert(0 < kScreenUntil && kScreenUntil < kConfirmUntil && kConfirmUntil < 1);

constexpr std::int64_t kDurationMinNs = 400 * kNsPerMs;
constexpr std::int64_t kDurationMaxNs = 2 * kNsPerSecond;
static_assert(kDurationMinNs < kDurationMaxNs);
constexpr std::uint32_t kRoundsMin = 3;
constexpr std::uint32_t kRoundsWanted = 8;
constexpr std::uint32_t kRoundsMax = 30;
constexpr std::uint32_t kPairsMin = 4;
constexpr std::uint32_t kPairsMax = 24;
constexpr std::uint32_t kRepeatsMax = 5;
constexpr std::uint32_t kFailuresMax = 2;
static_assert(kRepeatsMax > 0 && kFailuresMax < kRoundsMin);
static_assert(kRoundsMin <= kRoundsWanted && kRoundsWanted <= kRoundsMax && kPairsMin <= kPairsMax);
// Of what the default takes when nothing holds it back. Beyond all of it, p99 only says how long
// the test lasted.
constexpr double kLoads[] = {0.15, 0.3, 0.45, 0.6, 0.7, 0.8, 0.9, 1.0};
constexpr std::size_t kLoadsMin = 3;
static_assert(kLoads[0] > 0);
static_assert(kLoadsMin <= std::size(kLoads) && std::ranges::is_sorted(kLoads) &&
              kLoads[std::size(kLoads) - 1] == 1.0);

std::vector<double> column(const std::vector<Sample>& samples, double Sample::*member) {
  std::vector<double> values;
  for (const Sample& sample : samples) values.push_back(sample.*member);
  return values;
}

std::string bytes_value(std::uint64_t bytes) {
  return bytes % 1024 == 0 ? fmt::format("\"{}KiB\"", bytes / 1024) : fmt::format("\"{}\"", bytes);
}

// The neighbours of a power of two, four times less to four times more.
template <class Show>
std::vector<std::string> powers_around(std::uint32_t now, std::uint32_t least, std::uint32_t most,
                                       Show&& show) {
  std::vector<std::string> values;
  MXRING_ASSERT(least <= most);
  for (const std::uint64_t value : {now / 4ULL, now / 2ULL, now * 2ULL, now * 4ULL}) {
    if (value >= least && value <= most) values.push_back(show(value));
  }
  return values;
}

}  // namespace

std::vector<Setting> settings_around(const Around& around) {
  std::vector<Setting> settings;
  const auto number = [](std::uint64_t value) { return fmt::format("{}", value); };
  settings.push_back({"shards.buffer_bytes", bytes_value(around.buffer_bytes),
                      powers_around(around.buffer_bytes, 4096, 1 << 20, bytes_value),
                      "one receive buffer", ""});
  settings.push_back({"shards.buffers_offered", number(around.buffers_offered),
                      powers_around(around.buffers_offered, 8, 32'768, number),
                      "buffers in the kernel's ring at a time", ""});
  Setting window{"log.commit_window",
                 fmt::format("\"{}us\"", around.commit_window_ns / 1000),
                 {},
                 "wait for more messages before a commit",
                 ""};
  if (around.commit_window_ns == 0) window.current = "\"0\"";
  for (const std::int64_t us : {0, 100, 250, 500, 1000}) {
    if (us * 1000 == around.commit_window_ns) continue;
    window.values.push_back(us == 0 ? "\"0\"" : fmt::format("\"{}us\"", us));
  }
  settings.push_back(std::move(window));
  settings.push_back({"shards.submission_entries", number(around.submission_entries),
                      powers_around(around.submission_entries, 64, 32'768, number),
                      "depth of the ring's submission queue", ""});
  settings.push_back({"shards.completion_entries", number(around.completion_entries),
                      powers_around(around.completion_entries, 256, 65'536, number),
                      "depth of the ring's completion queue", ""});
  // On the load generator's own cores a pinned shard waits and an unpinned one moves away; with
  // clients elsewhere neither happens.
  const std::string crowded =
      around.cores > around.shards + 1
          ? ""
          : "the load generator needs a core too and there is none left: judge it with clients on "
            "another host";
  settings.push_back({"shards.pin",
                      around.pinned ? "true" : "false",
                      {around.pinned ? "false" : "true"},
                      "shards stay on their cores",
                      crowded});
  Setting shards{"shards.count", number(around.shards), {}, "receiving threads", crowded};
  MXRING_ASSERT(around.cores > 0);
  const std::uint32_t steps[] = {1, around.cores / 2, around.cores - 1, around.cores};
  for (const std::uint32_t count : std::set<std::uint32_t>(std::begin(steps), std::end(steps))) {
    if (count > 0 && count != around.shards) shards.values.push_back(number(count));
  }
  if (!shards.values.empty()) settings.push_back(std::move(shards));
  return settings;
}

const std::vector<FixedThing>& fixed_by_design() {
  static const std::vector<FixedThing> things{
      {"ring flags", "SINGLE_ISSUER and DEFER_TASKRUN are what makes one system call a loop turn"},
      {"hash batches",
       "flushed once a loop turn: a batch is what one turn brought, and nobody "
       "waits for lanes to fill"},
      {"listen backlog", "4096, cut by net.core.somaxconn: see mxring tune check"},
      {"writer", "one thread: the log has one order"},
  };
  return things;
}

Sweep::Sweep(SweepOptions options, Runner runner, std::function<std::int64_t()> clock,
             std::function<void(const SweepProgress&)> progress)
    : options_(std::move(options)),
      runner_(std::move(runner)),
      clock_(std::move(clock)),
      progress_(std::move(progress)) {}

std::expected<SweepResult, std::string> Sweep::run() {
  MXRING_ASSERT(options_.time_ns > 0 && runner_ && clock_);
  begin_ns_ = clock_();
  for (const auto part : {&Sweep::plan, &Sweep::screen, &Sweep::confirm, &Sweep::draw}) {
    if (auto done = (this->*part)(); !done) return std::unexpected(done.error());
  }
  result_.seconds = static_cast<double>(elapsed_ns()) * 1e-9;
  return std::move(result_);
}

std::expected<Sample, std::string> Sweep::measure(std::string_view part, std::uint32_t round,
                                                  const RunRequest& request, const std::string& key,
                                                  const std::string& value) {
  if (progress_) {
    const auto now = static_cast<double>(elapsed_ns());
    std::string doing(part);
    doing += key.empty() ? " default" : fmt::format(" {} {}", key, value);
    progress_({now / static_cast<double>(options_.time_ns),
               std::max<std::int64_t>(options_.time_ns - elapsed_ns(), 0), std::move(doing)});
  }
  auto sample = runner_(request);
  if (!sample) return sample;
  if (!(sample->cpu_us > 0 && sample->rate > 0 && sample->p99_us > 0)) {
    return std::unexpected("a run measured nothing");
  }
  MXRING_ASSERT(request.duration_ns > 0);
  result_.measurements.push_back(
      {part, round, key, value, request.offered_rate.value_or(0), *sample});
  return sample;
}

// Two runs of the default warm the machine and say what a run costs beside its duration; then how
// long a run may be, and which settings there is time for.
std::expected<void, std::string> Sweep::plan() {
  for (int i = 0; i < 2; ++i) {
    const std::int64_t begin = clock_();
    const auto sample = runner_({{}, std::nullopt, kDurationMinNs});
    if (!sample) return std::unexpected(sample.error());
    overhead_ns_ = std::max<std::int64_t>(clock_() - begin - kDurationMinNs, 0);
  }
  // The least the two other parts need: pairs, and three points of two curves.
  MXRING_ASSERT(overhead_ns_ >= 0 && variants_.empty());
  const double run = static_cast<double>(kDurationMinNs + overhead_ns_);
  const auto time = static_cast<double>(options_.time_ns);
  const double reserve = run * (2 * kPairsMin + 2 * kLoadsMin);
  const double budget =
      std::min(kScreenUntil * time, time - reserve) - static_cast<double>(elapsed_ns());
  SweepPlan plan;
  std::size_t fewest = SIZE_MAX;  // values of a setting
  for (const Setting& setting : options_.settings) {
    fewest = std::min(fewest, setting.values.size());
    const double runs = static_cast<double>(variants_.size() + setting.values.size() + 1);
    if (runs * kRoundsMin * run > budget) {
      result_.left_out.push_back(setting.key);
      plan.variants_left_out += setting.values.size();
      continue;
    }
    plan.settings.push_back(setting.key);
    for (const std::string& value : setting.values) {
      variants_.push_back({{setting.key, value}, setting.unjudged, {}, {}, 0, ""});
    }
  }
  if (variants_.empty()) {
    // With a tenth to spare: the next first run takes another time.
    const double screening =
        static_cast<double>(fewest + 1) * kRoundsMin * run + static_cast<double>(elapsed_ns());
    const double needed = 1.1 * std::max(screening / kScreenUntil, screening + reserve);
    time_needed_ns_ = static_cast<std::int64_t>(needed);
    return std::unexpected(
        fmt::format("one measurement takes {}, and several of each variant are needed",
                    base::format_duration(overhead_ns_ + kDurationMinNs)));
  }
  const auto runs = static_cast<double>(variants_.size() + 1);
  const double share = budget / (runs * kRoundsWanted) - static_cast<double>(overhead_ns_);
  duration_ns_ = std::clamp(static_cast<std::int64_t>(share), kDurationMinNs, kDurationMaxNs);
  if (!tell_plan_) return {};
  const double round = runs * static_cast<double>(duration_ns_ + overhead_ns_);
  plan.rounds = std::clamp(static_cast<std::uint32_t>(budget / round), kRoundsMin, kRoundsMax);
  plan.variants = variants_.size();
  plan.left_out = result_.left_out;
  tell_plan_(plan);
  return {};
}

std::expected<void, std::string> Sweep::screen() {
  MXRING_ASSERT(duration_ns_ >= kDurationMinNs && !variants_.empty());
  const double until = kScreenUntil * static_cast<double>(options_.time_ns);
  std::int64_t longest_ns = 0;
  for (std::uint32_t round = 0; round < kRoundsMax; ++round) {
    const std::int64_t begin = clock_();
    if (round >= kRoundsMin && static_cast<double>(elapsed_ns() + longest_ns) > until) break;
    const auto base = measure("screen", round, {{}, std::nullopt, duration_ns_}, "", "");
    if (!base) return std::unexpected(base.error());
    base_.push_back(*base);
    for (std::size_t i = 0; i < variants_.size(); ++i) {
      // The order turns, so that no variant always follows the same one.
      Variant& variant = variants_[(i + round * 7) % variants_.size()];
      if (variant.failures >= kFailuresMax) continue;
      const Assignment& assignment = variant.assignment;
      const auto sample = measure("screen", round, {{assignment}, std::nullopt, duration_ns_},
                                  assignment.key, assignment.value);
      if (!sample) {
        ++variant.failures;
        variant.failure = sample.error();
        continue;
      }
      variant.samples.push_back(*sample);
      variant.base.push_back(*base);
      MXRING_ASSERT(variant.base.size() == variant.samples.size());
    }
    longest_ns = std::max(longest_ns, clock_() - begin);
    result_.rounds = round + 1;
  }
  MXRING_ASSERT(!base_.empty());
  result_.current = {median(column(base_, &Sample::cpu_us)), median(column(base_, &Sample::rate)),
                     median(column(base_, &Sample::p50_us)),
                     median(column(base_, &Sample::p99_us))};
  judge_variants();
  return {};
}

Comparison Sweep::compare(const std::vector<Sample>& base,
                          const std::vector<Sample>& changed) const {
  MXRING_ASSERT(base.size() == changed.size() && !base.empty());
  const auto ratio = [&](double Sample::*member) {
    return ratio_interval(column(base, member), column(changed, member), options_.confidence);
  };
  Comparison comparison;
  comparison.cpu = ratio(&Sample::cpu_us);
  comparison.p99 = ratio(&Sample::p99_us);
  const Interval rate = ratio(&Sample::rate);
  comparison.slowness = {1 / rate.estimate, 1 / rate.high, 1 / rate.low};
  return comparison;
}

// Of each setting the best value that passes is a candidate.
void Sweep::judge_variants() {
  std::vector<const VariantResult*> best;
  MXRING_ASSERT(result_.variants.empty());
  result_.variants.reserve(variants_.size());
  for (const Variant& variant : variants_) {
    VariantResult& result = result_.variants.emplace_back();
    result.key = variant.assignment.key;
    result.value = variant.assignment.value;
    result.rounds = static_cast<std::uint32_t>(variant.samples.size());
    result.note = variant.failure;
    if (variant.samples.size() < kRoundsMin) {
      if (result.note.empty()) result.note = "too few rounds";
      continue;
    }
    MXRING_ASSERT(variant.base.size() == variant.samples.size());
    result.comparison = compare(variant.base, variant.samples);
    result.decision = decide(result.comparison, options_.rule);
    if (result.decision != Decision::kTake) continue;
    if (!variant.unjudged.empty()) {
      result.note = variant.unjudged;
      continue;
    }
    const auto same = std::ranges::find_if(
        best, [&](const VariantResult* other) { return other->key == result.key; });
    const auto gain = [this](const VariantResult& of) {
      return of_goal(of.comparison, options_.rule.goal).estimate;
    };
    if (same == best.end()) {
      best.push_back(&result);
    } else if (gain(result) < gain(**same)) {
      *same = &result;
    }
  }
  for (const VariantResult* result : best)
    result_.candidates.push_back({result->key, result->value});
}

std::expected<void, std::string> Sweep::confirm() {
  if (result_.candidates.empty()) return {};
  const double until = kConfirmUntil * static_cast<double>(options_.time_ns);
  std::vector<Sample> base;
  std::vector<Sample> changed;
  for (std::uint32_t pair = 0; pair < kPairsMax; ++pair) {
    const auto next = static_cast<double>(elapsed_ns() + 2 * (duration_ns_ + overhead_ns_));
    if (pair >= kPairsMin && next > until) break;
    Sample samples[2];  // the default's, the other's
    for (int i = 0; i < 2; ++i) {
      const int which = static_cast<int>(pair % 2) ^ i;  // by turns which comes first
      RunRequest request{{}, std::nullopt, duration_ns_};
      if (which == 1) request.assignments = result_.candidates;
      const auto sample = measure("confirm", pair, request, which == 1 ? "recommended" : "", "");
      if (!sample) return std::unexpected(sample.error());
      samples[which] = *sample;
    }
    MXRING_ASSERT(samples[0].cpu_us > 0 && samples[1].cpu_us > 0);
    base.push_back(samples[0]);
    changed.push_back(samples[1]);
  }
  MXRING_ASSERT(base.size() >= kPairsMin);
  result_.confirmation = compare(base, changed);
  result_.confirmation_pairs = static_cast<std::uint32_t>(base.size());
  if (decide(*result_.confirmation, options_.rule) == Decision::kTake) {
    result_.recommended = result_.candidates;
  }
  return {};
}

std::expected<void, std::string> Sweep::draw() {
  const std::size_t curves = result_.recommended.empty() ? 1 : 2;
  const std::int64_t point_ns = static_cast<std::int64_t>(curves) * (duration_ns_ + overhead_ns_);
  MXRING_ASSERT(point_ns > 0);
  const std::int64_t left_ns = std::max<std::int64_t>(options_.time_ns - elapsed_ns(), 0);
  const std::size_t points = std::clamp<std::size_t>(static_cast<std::size_t>(left_ns / point_ns),
                                                     kLoadsMin, std::size(kLoads));
  for (std::size_t i = 0; i < points; ++i) {
    // Spread over the loads, the last always among them.
    MXRING_ASSERT(points <= std::size(kLoads));
    const double load = kLoads[(i + 1) * std::size(kLoads) / points - 1];
    MXRING_ASSERT(load > 0 && load <= 1);
    result_.current_curve.push_back({load * result_.current.rate, {}});
    if (curves == 2) result_.recommended_curve.push_back({load * result_.current.rate, {}});
  }
  std::int64_t longest_ns = 0;
  for (std::uint32_t repeat = 0; repeat < kRepeatsMax; ++repeat) {
    const std::int64_t begin = clock_();
    if (repeat > 0 && elapsed_ns() + longest_ns > options_.time_ns) break;
    for (std::size_t i = 0; i < result_.current_curve.size(); ++i) {
      for (auto* curve : {&result_.current_curve, &result_.recommended_curve}) {
        if (i >= curve->size()) continue;
        const bool changed = curve == &result_.recommended_curve;
        RunRequest request{{}, (*curve)[i].offered_rate, duration_ns_};
        if (changed) request.assignments = result_.recommended;
        const auto sample = measure("chart", repeat, request, changed ? "recommended" : "", "");
        if (!sample) return std::unexpected(sample.error());
        (*curve)[i].p99_us.push_back(sample->p99_us);
      }
    }
    longest_ns = std::max(longest_ns, clock_() - begin);
  }
  return {};
}

}  // namespace mxring::tune
