#include "obs/exposition.h"

#include <gtest/gtest.h>

#include <memory>
#include <regex>
#include <sstream>
#include <string>

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
  const std::regex comment("# (HELP|TYPE) [a-z_][a-z0-9_]* .+");
  const std::regex sample(R"([a-z_][a-z0-9_]*(\{[a-z]+="[^"\n]*"\})? [-+]?[0-9.]+(e[-+]?[0-9]+)?)");
  std::istringstream lines(text);
  std::size_t samples = 0;
  for (std::string line; std::getline(lines, line);) {
    const bool is_sample = std::regex_match(line, sample);
    EXPECT_TRUE(is_sample || std::regex_match(line, comment)) << line;
    if (is_sample) ++samples;
  }
  EXPECT_EQ(text.back(), '\n');
  EXPECT_EQ(samples, static_cast<std::size_t>(Counter::kCount) + 6);
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
    key += info(static_cast<Counter>(i)).name;
    key += "\":";
    const std::size_t first = json.find(key);
    EXPECT_NE(first, std::string::npos) << key;
    EXPECT_EQ(json.find(key, first + 1), std::string::npos) << key;
  }
}

}  // namespace
}  // namespace mxring::obs
