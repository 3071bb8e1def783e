// The chart is well-formed whatever it is given, and its axes hold what is drawn.
#include "tune/line_chart.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <regex>

namespace mxring::tune {
namespace {

// Tags balanced, attributes quoted, no stray markup in between: all that XML 1.0 asks of this kind
// of document.
void expect_well_formed(const std::string& svg) {
  std::vector<std::string> open;
  std::size_t at = 0;
  static const std::regex kTag(R"(^<(/?)([a-z]+)((?: [A-Za-z0-9:-]+="[^"<&]*")*)(/?)>)");
  static const std::regex kText(R"(^[^<>&]+|^&(?:amp|lt|gt|quot);)");
  while (at < svg.size()) {
    std::smatch match;
    const std::string rest = svg.substr(at, 4096);
    if (std::regex_search(rest, match, kTag)) {
      if (match[1].length() > 0) {
        ASSERT_FALSE(open.empty()) << rest;
        ASSERT_EQ(open.back(), match[2].str());
        open.pop_back();
      } else if (match[4].length() == 0) {
        open.push_back(match[2].str());
      }
    } else {
      ASSERT_TRUE(std::regex_search(rest, match, kText)) << "at " << rest.substr(0, 80);
    }
    at += static_cast<std::size_t>(match.length());
  }
  EXPECT_TRUE(open.empty());
}

void expect_inside(const std::string& svg) {
  static const std::regex kCircle(R"re(cx="([-0-9.a-z]+)" cy="([-0-9.a-z]+)")re");
  for (std::sregex_iterator it(svg.begin(), svg.end(), kCircle), end; it != end; ++it) {
    const double x = std::stod((*it)[1]);
    const double y = std::stod((*it)[2]);
    EXPECT_TRUE(x >= 70 && x <= 600) << x;
    EXPECT_TRUE(y >= 60 && y <= 410) << y;
  }
}

TEST(LineChartTest, TwoSeries) {
  LineChart chart{"p99 & <load>",
                  "a \"quoted\" \x01 subtitle \xff",
                  "rate",
                  "ms",
                  {{"default", {{1000, 1.5, 1.2, 2.0}, {2000, 1.7, 1.6, 1.8}, {9000, 40, 20, 90}}},
                   {"recommended", {{1000, 1.4, 1.2, 2.0}, {9000, 41, 20, 80}}}}};
  const std::string svg = to_svg(chart);
  expect_well_formed(svg);
  expect_inside(svg);
  EXPECT_NE(svg.find("p99 &amp; &lt;load&gt;"), std::string::npos);
  EXPECT_NE(svg.find(">recommended</text>"), std::string::npos);
}

TEST(LineChartTest, NothingToDrawIsStillAChart) {
  expect_well_formed(to_svg({}));
  LineChart chart;
  chart.series = {{"empty", {}}, {"zero", {{1, 0, 0, 0}}}, {"one", {{5, 3, 3, 3}}}};
  expect_well_formed(to_svg(chart));
  expect_inside(to_svg(chart));
  chart.series = {{"nan", {{1, std::numeric_limits<double>::quiet_NaN(), 0, 0}}}};
  const std::string svg = to_svg(chart);
  expect_well_formed(svg);
  EXPECT_EQ(svg.find("nan\""), std::string::npos);
}

TEST(LineChartTest, RoundTicks) {
  EXPECT_EQ(linear_ticks(17'000, 8), (std::vector<double>{0, 5000, 10'000, 15'000, 20'000}));
  EXPECT_EQ(linear_ticks(0, 8).front(), 0);
  EXPECT_EQ(log_ticks(0.3, 40), (std::vector<double>{0.2, 0.5, 1, 2, 5, 10, 20, 50}));
  EXPECT_EQ(log_ticks(1, 10), (std::vector<double>{1, 2, 5, 10}));
  for (const double high : {0.001, 0.7, 3.0, 99.0, 100.0, 101.0, 12345.0}) {
    const auto ticks = linear_ticks(high, 8);
    EXPECT_GE(ticks.back(), high);
    EXPECT_LE(ticks.size(), 10U);
  }
}

}  // namespace
}  // namespace mxring::tune
