#include "obs/exposition.h"

#include <gtest/gtest.h>

#include <charconv>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>

namespace mxring::obs {
namespace {

TEST(ExpositionTest, PrometheusTextHasHelpTypeAndValue) {
  CounterRegistry registry;
  registry.make_set("a").add(Counter::kCommands, 40);
  registry.make_set("b").add(Counter::kCommands, 2);
  std::string text;
  append_prometheus(text, registry);
  EXPECT_NE(text.find("# HELP mxring_commands_total SMTP commands parsed\n"
                      "# TYPE mxring_commands_total counter\n"
                      "mxring_commands_total 42\n"),
            std::string::npos)
      << text;
}

TEST(ExpositionTest, NanosecondsAreSecondsAndWhatIsNoTotalIsAGauge) {
  CounterRegistry registry;
  CounterSet& set = registry.make_set("a");
  set.add(Counter::kLoopCpuNs, 1'500'000'000);
  set.set(Counter::kMemoryInFlight, 4096);
  std::string text;
  append_prometheus(text, registry);
  EXPECT_NE(text.find("# TYPE mxring_loop_cpu_seconds_total counter\n"
                      "mxring_loop_cpu_seconds_total 1.500000000\n"),
            std::string::npos);
  EXPECT_NE(text.find("# TYPE mxring_memory_in_flight_bytes gauge\n"
                      "mxring_memory_in_flight_bytes 4096\n"),
            std::string::npos);
  EXPECT_EQ(text.find("nanoseconds"), std::string::npos);
  EXPECT_NE(to_json(registry).find("\"loop_cpu_seconds_total\":1.5,"), std::string::npos);
}

TEST(ExpositionTest, HistogramsHaveCumulativeBuckets) {
  const auto histogram = std::make_unique<Histogram>();
  for (const std::uint64_t ms : {0U, 2U, 2U, 300U, 20'000U}) histogram->record(ms * 1'000'000);
  std::string text;
  append_prometheus_histogram(text, "x_seconds", "help", *histogram);
  EXPECT_TRUE(
      text.starts_with("# HELP mxring_x_seconds help\n# TYPE mxring_x_seconds histogram\n"
                       "mxring_x_seconds_bucket{le=\"0.0005\"} 1\n"
                       "mxring_x_seconds_bucket{le=\"0.001\"} 1\n"
                       "mxring_x_seconds_bucket{le=\"0.0025\"} 3\n"))
      << text;
  for (const char* line : {"{le=\"0.25\"} 3\n", "{le=\"0.5\"} 4\n", "{le=\"10\"} 4\n",
                           "{le=\"+Inf\"} 5\n", "_sum 20.304000000\n", "_count 5\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(ExpositionTest, EveryLineFollowsTheFormat) {
  CounterRegistry registry;
  registry.make_set("a");
  const auto histogram = std::make_unique<Histogram>();
  histogram->record(1500);
  std::string text;
  append_prometheus(text, registry);
  append_prometheus_histogram(text, "commit_seconds", "time of a commit", *histogram);
  std::istringstream lines(text);
  std::size_t samples = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("# HELP mxring_") || line.starts_with("# TYPE mxring_")) continue;
    ++samples;
    // name, perhaps {label="value"}, one space, a number that is read to its end
    const std::size_t space = line.rfind(' ');
    ASSERT_NE(space, std::string::npos) << line;
    const std::string_view name = std::string_view(line).substr(0, line.find_first_of("{ "));
    EXPECT_TRUE(name.starts_with("mxring_")) << line;
    EXPECT_EQ(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), name.npos) << line;
    const std::string labels = line.substr(name.size(), space - name.size());
    if (!labels.empty()) {
      EXPECT_TRUE(labels.starts_with("{le=\"") || labels.starts_with("{version=\"1.") ||
                  labels.starts_with("{result=\"") || labels.starts_with("{reply=\"") ||
                  labels.starts_with("{activity=\"") || labels.starts_with("{group=\""))
          << line;
      EXPECT_TRUE(labels.ends_with("\"}")) << line;
    }
    double number = 0;
    const char* end = line.data() + line.size();
    EXPECT_EQ(std::from_chars(line.data() + space + 1, end, number).ptr, end) << line;
  }
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(samples, static_cast<std::size_t>(Counter::kCount) + 17);
}

TEST(ExpositionTest, AFamilyIsExplainedOnce) {
  CounterRegistry registry;
  registry.make_set("a").add(Counter::kSpfPass, 2);
  std::string text;
  append_prometheus(text, registry);
  EXPECT_NE(text.find("# HELP mxring_spf_results_total messages by SPF result\n"
                      "# TYPE mxring_spf_results_total counter\n"
                      "mxring_spf_results_total{result=\"none\"} 0\n"
                      "mxring_spf_results_total{result=\"pass\"} 2\n"
                      "mxring_spf_results_total{result=\"fail\"} 0\n"),
            std::string::npos)
      << text;
  EXPECT_NE(to_json(registry).find(R"("spf_results_total":{"none":0,"pass":2,"fail":0,)"),
            std::string::npos);
}

TEST(ExpositionTest, AFamilyWhoseLabelsALayerAboveKnows) {
  constexpr std::string_view kValues[] = {"452 4.3.1", "550 5.7.1"};
  CounterRegistry registry({"refusals_total", "refused", "reply", kValues});
  CounterSet& first = registry.make_set("a");
  first.add_to_family(1);
  first.add_to_family(1);
  registry.make_set("b").add_to_family(1);
  std::string text;
  append_prometheus(text, registry);
  EXPECT_TRUE(
      text.ends_with("# HELP mxring_refusals_total refused\n"
                     "# TYPE mxring_refusals_total counter\n"
                     "mxring_refusals_total{reply=\"452 4.3.1\"} 0\n"
                     "mxring_refusals_total{reply=\"550 5.7.1\"} 3\n"))
      << text;
  EXPECT_TRUE(to_json(registry).ends_with(R"("refusals_total":{"452 4.3.1":0,"550 5.7.1":3}})"));
}

TEST(ExpositionTest, JsonNamesEveryCounterOnce) {
  CounterRegistry registry;
  registry.make_set("a").add(Counter::kMessagesAccepted, 7);
  const std::string json = to_json(registry);
  EXPECT_TRUE(json.starts_with('{') && json.ends_with('}'));
  EXPECT_NE(json.find("\"messages_accepted_total\":7,"), std::string::npos) << json;
  for (std::size_t i = 0; i < static_cast<std::size_t>(Counter::kCount); ++i) {
    std::string key = "\"";
    if (!info(static_cast<Counter>(i)).label.empty()) continue;
    key += info(static_cast<Counter>(i)).name;
    key += "\":";
    const std::size_t first = json.find(key);
    EXPECT_NE(first, std::string::npos) << key;
    EXPECT_EQ(json.find(key, first + 1), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace mxring::obs
