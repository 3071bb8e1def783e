// `mxring tune sweep`: tries settings one at a time around the current ones and says which are
// worth changing on this host.
//
// Three parts share the time given. Screening measures the default and every variant once a round,
// in an order that turns, so that each variant has the default's measurement of the same round to
// be compared with. What passes is confirmed, all together, in fresh pairs: what only looked good
// by chance among many falls here. At last the default, and what is recommended, are measured at
// rising offered rates for the chart.
//
// The engine knows neither servers nor load: a Runner measures one configuration.
//
// Thread: one. Failure: of a run, told with the variant; a variant that fails twice is left out,
// the default failing ends the sweep.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tune/statistics.h"

namespace mxring::tune {

// "shards.buffer_bytes" and its value as TOML text: "\"32KiB\"".
struct Assignment {
  std::string key;
  std::string value;
};

// One key, its present value and those to try instead.
struct Setting {
  std::string key;
  std::string current;
  std::vector<std::string> values;
  std::string what;
  // Measured, but not recommended: why a change cannot be judged on this host.
  std::string unjudged;
};

// What the settings are now, and what the host allows.
struct Around {
  std::uint32_t shards = 1;  // in effect
  std::uint32_t cores = 1;
  bool pinned = true;
  std::uint32_t buffer_bytes = 16 * 1024;
  std::uint32_t buffers_offered = 256;
  std::uint32_t submission_entries = 1024;
  std::uint32_t completion_entries = 8192;
  std::int64_t commit_window_ns = 0;
};
std::vector<Setting> settings_around(const Around& around);

// What a reader might look for among the settings and does not find, with the reason.
struct FixedThing {
  std::string_view name;
  std::string_view why;
};
const std::vector<FixedThing>& fixed_by_design();

// One measurement.
struct Sample {
  double cpu_us = 0;  // of the server for a message
  double rate = 0;    // messages accepted a second
  double p50_us = 0;
  double p99_us = 0;
};

struct RunRequest {
  std::vector<Assignment> assignments;  // none: the current configuration
  std::optional<double> offered_rate;   // messages a second; none: as fast as it goes
  std::int64_t duration_ns = 0;
};
using Runner = std::function<std::expected<Sample, std::string>(const RunRequest&)>;

struct SweepOptions {
  std::vector<Setting> settings;
  std::int64_t time_ns = 0;  // for all of it
  DecisionRule rule;
  double confidence = 0.95;
};

// One line of the CSV.
struct Measurement {
  std::string_view part;  // "screen", "confirm", "chart"
  std::uint32_t round = 0;
  std::string key;  // "" = the current configuration, "recommended" for all changes together
  std::string value;
  double offered_rate = 0;  // 0 = as fast as it goes
  Sample sample;
};

struct VariantResult {
  std::string key;
  std::string value;
  std::uint32_t rounds = 0;
  Comparison comparison;
  Decision decision = Decision::kKeepNoise;
  std::string note;  // why it is not recommended in spite of it, or why it failed
};

struct ChartResult {
  double offered_rate = 0;
  std::vector<double> p99_us;  // one a repeat
};

struct SweepResult {
  Sample current;  // medians of the screening
  std::uint32_t rounds = 0;
  std::vector<VariantResult> variants;
  std::vector<Assignment> candidates;  // passed the screening
  std::optional<Comparison> confirmation;
  std::uint32_t confirmation_pairs = 0;
  std::vector<Assignment> recommended;  // empty: keep the default
  std::vector<ChartResult> current_curve;
  std::vector<ChartResult> recommended_curve;
  std::vector<Measurement> measurements;
  std::vector<std::string> left_out;  // settings there was no time for
  double seconds = 0;
};

// What there is time for, known after the first measurements.
struct SweepPlan {
  std::size_t variants = 0;
  std::size_t variants_left_out = 0;
  std::vector<std::string> settings;
  std::vector<std::string> left_out;
  std::uint32_t rounds = 0;  // about so many
};

struct SweepProgress {
  double fraction = 0;
  std::int64_t left_ns = 0;
  std::string doing;
};

class Sweep {
 public:
  // `clock` gives nanoseconds from any origin.
  Sweep(SweepOptions options, Runner runner, std::function<std::int64_t()> clock,
        std::function<void(const SweepProgress&)> progress = {});

  // Called once, before the first round.
  void on_plan(std::function<void(const SweepPlan&)> tell) { tell_plan_ = std::move(tell); }

  std::expected<SweepResult, std::string> run();
  // After run() failed because time was short: how much would do.
  std::optional<std::int64_t> time_needed_ns() const { return time_needed_ns_; }

 private:
  struct Variant {
    Assignment assignment;
    std::string unjudged;
    std::vector<Sample> samples;  // paired with base_
    std::vector<Sample> base;
    std::uint32_t failures = 0;
    std::string failure;
  };

  std::expected<void, std::string> plan();
  std::expected<void, std::string> screen();
  void judge_variants();
  std::expected<void, std::string> confirm();
  std::expected<void, std::string> draw();
  std::expected<Sample, std::string> measure(std::string_view part, std::uint32_t round,
                                             const RunRequest& request, const std::string& key,
                                             const std::string& value);
  Comparison compare(const std::vector<Sample>& base, const std::vector<Sample>& changed) const;
  std::int64_t elapsed_ns() const { return clock_() - begin_ns_; }

  SweepOptions options_;
  Runner runner_;
  std::function<std::int64_t()> clock_;
  std::function<void(const SweepProgress&)> progress_;
  std::function<void(const SweepPlan&)> tell_plan_;
  std::optional<std::int64_t> time_needed_ns_;
  std::int64_t begin_ns_ = 0;
  std::int64_t overhead_ns_ = 0;  // of a run beside its duration
  std::int64_t duration_ns_ = 0;
  std::vector<Variant> variants_;
  std::vector<Sample> base_;
  SweepResult result_;
};

}  // namespace mxring::tune
