// A line chart as one SVG file that needs nothing else: points with their spread, a line through
// each series, its name at the line's end. The vertical axis is logarithmic, for latencies.
//
// Thread: any; pure.
#pragma once

#include <string>
#include <vector>

namespace mxring::tune {

struct ChartPoint {
  double x = 0;
  double y = 0;  // above 0; others are left out
  double low = 0;
  double high = 0;
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;
};

struct LineChart {
  std::string title;
  std::string subtitle;
  std::string x_title;
  std::string y_title;
  std::vector<ChartSeries> series;
};

std::string to_svg(const LineChart& chart);

// Round numbers that span [0, high]: at most `most` steps of 1, 2 or 5 times a power of ten.
std::vector<double> linear_ticks(double high, int most);
// 1, 2, 5, 10, 20, ... from at most `low` to at least `high`.
std::vector<double> log_ticks(double low, double high);
// "&" and kin as entities; control characters left out.
std::string xml_escaped(std::string_view text);

}  // namespace mxring::tune
