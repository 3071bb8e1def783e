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

TEST(ExpositionTest, EveryLineFollowsTheFormat) {
  CounterRegistry registry;
  registry.make_set("a");
  const auto histogram = std::make_unique<Histogram>();
  histogram->record(1500);
  std::string text;
  append_prometheus(text, registry);
  append_prometheus_summary(text, "commit_seconds", "time of a commit", *histogram, 1e-9);
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
      EXPECT_TRUE(labels.starts_with("{quantile=\"0.") || labels.starts_with("{result=\"") ||
                  labels.starts_with("{reply=\""))
          << line;
      EXPECT_TRUE(labels.ends_with("\"}")) << line;
    }
    double number = 0;
    const char* end = line.data() + line.size();
    EXPECT_EQ(std::from_chars(line.data() + space + 1, end, number).ptr, end) << line;
  }
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(samples, static_cast<std::size_t>(Counter::kCount) + 6);
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

TEST(ExpositionTest, SummaryIsScaled) {
  const auto histogram = std::make_unique<Histogram>();
  for (int i = 0; i < 4; ++i) histogram->record(16);
  std::string text;
  append_prometheus_summary(text, "wait_seconds", "waiting", *histogram, 0.5);
  for (const char* line :
       {"# TYPE mxring_wait_seconds summary\n", "mxring_wait_seconds{quantile=\"0.5\"} 8\n",
        "mxring_wait_seconds{quantile=\"0.999\"} 8\n", "mxring_wait_seconds_sum 32\n",
        "mxring_wait_seconds_count 4\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "not in\n" << text;
  }
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
