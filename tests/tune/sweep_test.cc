// The sweep's engine on an invented server in invented time.
#include "tune/sweep.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>

#include "base/clock.h"
#include "tune/sweep_report.h"

namespace mxring::tune {
namespace {

using base::kNsPerSecond;

// What a value does to the measures; 1 = nothing.
struct Effect {
  double cpu = 1;
  double p99 = 1;
  double rate = 1;
  bool fails = false;
};

class InventedServer {
 public:
  explicit InventedServer(std::uint64_t seed = 1) : random_(seed) {}

  std::map<std::string, Effect> effects;  // "key=value"
  double noise = 0.03;
  std::int64_t start_ns = 200 * base::kNsPerMs;
  std::int64_t now_ns = 0;
  int runs = 0;
  bool base_fails = false;

  std::expected<Sample, std::string> run(const RunRequest& request) {
    ++runs;
    now_ns += start_ns + request.duration_ns;
    mood_ = std::clamp(mood_ * std::exp(spread(0.02)), 0.8, 1.6);
    Sample sample{30 * mood_, 20'000 / mood_, 800 * mood_, 3000 * mood_};
    if (request.assignments.empty() && base_fails) return std::unexpected("no server");
    for (const Assignment& assignment : request.assignments) {
      const Effect effect = effects[assignment.key + "=" + assignment.value];
      if (effect.fails) return std::unexpected("will not start");
      sample.cpu_us *= effect.cpu;
      sample.p99_us *= effect.p99;
      sample.rate *= effect.rate;
    }
    sample.cpu_us *= std::exp(spread(noise));
    sample.rate *= std::exp(spread(noise));
    sample.p99_us *= std::exp(spread(noise * 2));
    if (request.offered_rate) sample.rate = std::min(sample.rate, *request.offered_rate);
    return sample;
  }

  std::expected<SweepResult, std::string> sweep(SweepOptions options) {
    Sweep sweep(
        std::move(options), [this](const RunRequest& request) { return run(request); },
        [this] { return now_ns; });
    return sweep.run();
  }

 private:
  double spread(double by) { return std::normal_distribution<double>(0, by)(random_); }

  std::mt19937_64 random_;
  double mood_ = 1;
};

SweepOptions options_for(std::int64_t seconds) {
  SweepOptions options;
  options.settings = {{"a.x", "2", {"1", "3", "4"}, "x", ""},
                      {"b.y", "\"0\"", {"\"1us\""}, "y", ""}};
  options.time_ns = seconds * kNsPerSecond;
  return options;
}

TEST(SweepTest, FindsARealGainAndConfirmsIt) {
  InventedServer server;
  server.effects["a.x=3"] = {.cpu = 0.88};
  server.effects["a.x=4"] = {.cpu = 0.93};
  const auto result = server.sweep(options_for(120));
  ASSERT_TRUE(result.has_value()) << result.error();
  ASSERT_EQ(result->recommended.size(), 1U);
  EXPECT_EQ(result->recommended[0].key, "a.x");
  EXPECT_EQ(result->recommended[0].value, "3");
  EXPECT_NEAR(result->confirmation->cpu.estimate, 0.88, 0.03);
  EXPECT_GE(result->rounds, 3U);
  EXPECT_FALSE(result->current_curve.empty());
  EXPECT_EQ(result->current_curve.size(), result->recommended_curve.size());
  const std::string toml = sweep_toml(*result, options_for(120));
  EXPECT_NE(toml.find("[a]\nx = 3\n"), std::string::npos) << toml;
}

TEST(SweepTest, SettingsThatGainTogetherAreTakenTogether) {
  InventedServer server;
  server.effects["a.x=3"] = {.cpu = 0.9};
  server.effects["b.y=\"1us\""] = {.cpu = 0.9};
  const auto result = server.sweep(options_for(120));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->recommended.size(), 2U);
  EXPECT_NE(sweep_toml(*result, options_for(120)).find("[b]\ny = \"1us\"\n"), std::string::npos);
}

TEST(SweepTest, NoiseKeepsTheDefault) {
  int changes = 0;
  constexpr int kSweeps = 60;
  for (int seed = 0; seed < kSweeps; ++seed) {
    InventedServer server(static_cast<std::uint64_t>(seed));
    server.noise = 0.06;
    const auto result = server.sweep(options_for(60));
    ASSERT_TRUE(result.has_value());
    changes += result->recommended.empty() ? 0 : 1;
    if (result->recommended.empty()) {
      EXPECT_TRUE(sweep_toml(*result, options_for(60)).empty());
      EXPECT_TRUE(advice_sentence(*result, options_for(60)).starts_with("keep the default"));
    }
  }
  EXPECT_LE(changes, 1) << "of " << kSweeps;
}

TEST(SweepTest, AGainPaidForInLatencyIsNotTaken) {
  InventedServer server;
  server.effects["b.y=\"1us\""] = {.cpu = 0.8, .p99 = 1.6};
  const auto result = server.sweep(options_for(120));
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->recommended.empty());
  EXPECT_EQ(result->variants.back().decision, Decision::kKeepAtACost);
  EXPECT_NE(sweep_table(*result, options_for(120)).find("at a cost"), std::string::npos);
}

TEST(SweepTest, WhatCannotBeJudgedHereIsNotRecommended) {
  InventedServer server;
  server.effects["a.x=3"] = {.cpu = 0.7};
  SweepOptions options = options_for(120);
  options.settings[0].unjudged = "no core is left for the load";
  const auto result = server.sweep(options);
  ASSERT_TRUE(result.has_value());
  EXPECT_TRUE(result->recommended.empty());
  EXPECT_NE(sweep_table(*result, options).find("no core is left"), std::string::npos);
}

TEST(SweepTest, AVariantThatFailsIsLeftOut) {
  InventedServer server;
  server.effects["a.x=3"] = {.fails = true};
  server.effects["a.x=4"] = {.cpu = 0.85};
  const auto result = server.sweep(options_for(120));
  ASSERT_TRUE(result.has_value());
  EXPECT_EQ(result->variants[1].rounds, 0U);
  EXPECT_EQ(result->variants[1].note, "will not start");
  ASSERT_EQ(result->recommended.size(), 1U);
  EXPECT_EQ(result->recommended[0].value, "4");
}

TEST(SweepTest, WithoutTheDefaultThereIsNothingToCompareWith) {
  InventedServer server;
  server.base_fails = true;
  const auto result = server.sweep(options_for(120));
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error(), "no server");
}

TEST(SweepTest, StaysWithinItsTime) {
  for (const std::int64_t seconds : {20, 40, 90, 300, 600}) {
    InventedServer server;
    server.effects["a.x=3"] = {.cpu = 0.8};
    const auto result = server.sweep(options_for(seconds));
    ASSERT_TRUE(result.has_value()) << seconds << ": " << result.error();
    EXPECT_LE(result->seconds, static_cast<double>(seconds) * 1.05) << seconds;
    EXPECT_GE(result->seconds, static_cast<double>(seconds) * 0.4) << seconds;
    EXPECT_GE(result->current_curve.size(), 3U);
    for (const VariantResult& variant : result->variants) EXPECT_GE(variant.rounds, 3U);
  }
  InventedServer server;
  const auto run = [&server](const RunRequest& request) { return server.run(request); };
  Sweep hasty(options_for(2), run, [&server] { return server.now_ns; });
  EXPECT_FALSE(hasty.run().has_value());
  ASSERT_TRUE(hasty.time_needed_ns().has_value());
  // What it says is needed is enough.
  SweepOptions enough = options_for(0);
  enough.time_ns = *hasty.time_needed_ns();
  Sweep patient(enough, run, [&server] { return server.now_ns; });
  SweepPlan plan;
  patient.on_plan([&plan](const SweepPlan& made) { plan = made; });
  EXPECT_TRUE(patient.run().has_value());
  EXPECT_EQ(plan.settings, std::vector<std::string>{"b.y"});
  EXPECT_EQ(plan.left_out, std::vector<std::string>{"a.x"});
  EXPECT_EQ(plan.variants, 1U);
  EXPECT_EQ(plan.variants_left_out, 3U);
  EXPECT_GE(plan.rounds, 3U);
  SweepOptions many = options_for(16);
  many.settings[0].values = {"1", "3", "4", "5", "6", "7", "8", "9"};
  const auto result = server.sweep(many);
  ASSERT_TRUE(result.has_value()) << result.error();
  EXPECT_EQ(result->left_out, std::vector<std::string>{"a.x"});
}

TEST(SweepTest, SettingsAroundTheCurrentOnes) {
  Around around;
  around.shards = 2;
  around.cores = 2;
  std::map<std::string, Setting> settings;
  for (const Setting& setting : settings_around(around)) {
    settings[setting.key] = setting;
    for (const std::string& value : setting.values) EXPECT_NE(value, setting.current);
  }
  EXPECT_EQ(settings["shards.buffer_bytes"].values,
            (std::vector<std::string>{"\"4KiB\"", "\"8KiB\"", "\"32KiB\"", "\"64KiB\""}));
  EXPECT_EQ(settings["shards.count"].values, std::vector<std::string>{"1"});
  EXPECT_FALSE(settings["shards.count"].unjudged.empty());
  EXPECT_FALSE(settings["shards.pin"].unjudged.empty());
  EXPECT_EQ(settings["shards.pin"].values, std::vector<std::string>{"false"});
  EXPECT_EQ(settings["log.commit_window"].values.size(), 4U);
  around.cores = 16;
  around.shards = 8;
  for (const Setting& setting : settings_around(around)) EXPECT_TRUE(setting.unjudged.empty());
}

TEST(SweepReportTest, CsvHasALineForEachMeasurement) {
  InventedServer server;
  const auto result = server.sweep(options_for(60));
  ASSERT_TRUE(result.has_value());
  const std::string csv = sweep_csv(*result);
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(csv, '\n')),
            result->measurements.size() + 1);
  EXPECT_NE(csv.find("screen,0,b.y,\"\"\"1us\"\"\",0.0,"), std::string::npos) << csv.substr(0, 400);
}

}  // namespace
}  // namespace mxring::tune
