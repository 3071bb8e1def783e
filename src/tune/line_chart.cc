#include "tune/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::tune {

namespace {

constexpr double kWidth = 760;
constexpr double kHeight = 460;
constexpr double kLeft = 78;
constexpr double kRight = 170;  // room for the names of the series
constexpr double kTop = 66;
constexpr double kBottom = 62;
static_assert(kLeft + kRight < kWidth && kTop + kBottom < kHeight);

// Dark enough on white, and told apart by people who see few colours (Okabe and Ito).
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73",
                                    "#cc79a7", "#56b4e9", "#e69f00"};

static_assert(std::size(kColours) >= 2, "two series are told apart");
struct Scale {
  double x_max = 1;
  double y_min = 1;
  double y_max = 10;

  double x(double value) const { return kLeft + value / x_max * (kWidth - kLeft - kRight); }
  double y(double value) const {
    MXRING_ASSERT(value > 0 && y_min > 0 && y_max > y_min);
    const double share = std::log(value / y_min) / std::log(y_max / y_min);
    return kHeight - kBottom - share * (kHeight - kTop - kBottom);
  }
};

std::string short_number(double value) {
  if (value >= 1000 && std::fmod(value, 1000) == 0) return fmt::format("{:g}k", value / 1000);
  return fmt::format("{:g}", value);
}

std::string text(double x, double y, std::string_view anchor, std::string_view attributes,
                 std::string_view words) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                     anchor, attributes, xml_escaped(words));
}

std::string axes(const LineChart& chart, const Scale& scale, const std::vector<double>& x_ticks,
                 const std::vector<double>& y_ticks) {
  std::string out;
  for (const double tick : y_ticks) {
    const double y = scale.y(tick);
    out += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>\n", kLeft,
        y, kWidth - kRight, y);
    out += text(kLeft - 8, y + 4, "end", "", short_number(tick));
  }
  const double floor = kHeight - kBottom;
  for (const double tick : x_ticks) {
    const double x = scale.x(tick);
    out += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#888\"/>\n", x,
        floor, x, floor + 5);
    out += text(x, floor + 20, "middle", "", short_number(tick));
  }
  out += fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#444\"/>\n", kLeft,
      floor, kWidth - kRight, floor);
  out += text((kLeft + kWidth - kRight) / 2, kHeight - 18, "middle", "", chart.x_title);
  const double middle = (kTop + floor) / 2;
  out += text(20, middle, "middle", fmt::format(" transform=\"rotate(-90 20 {:.1f})\"", middle),
              chart.y_title);
  return out;
}

std::string drawn(const ChartSeries& series, const Scale& scale, const char* colour,
                  double& name_y) {
  std::string out;
  std::string path;
  const ChartPoint* last = nullptr;
  for (const ChartPoint& point : series.points) {
    if (!(point.y > 0)) continue;
    const double x = scale.x(point.x);
    const double y = scale.y(point.y);
    path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : " L", x, y);
    if (point.low > 0 && point.high > point.low) {
      out += fmt::format(
          "<line x1=\"{0:.1f}\" y1=\"{1:.1f}\" x2=\"{0:.1f}\" y2=\"{2:.1f}\" stroke=\"{3}\" "
          "stroke-opacity=\"0.45\" stroke-width=\"2\"/>\n",
          x, scale.y(point.low), scale.y(point.high), colour);
    }
    out +=
        fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\" fill=\"{}\"/>\n", x, y, colour);
    last = &point;
  }
  if (last == nullptr) return out;
  out += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"/>\n", path,
                     colour);
  // Names one below the other where lines end close together.
  constexpr double kLine = 16;
  const double wanted = scale.y(last->y) + 4;
  const double y = std::max(wanted, name_y + kLine);
  name_y = y;
  out += text(scale.x(last->x) + 10, y, "start", fmt::format(" fill=\"{}\"", colour), series.name);
  return out;
}

}  // namespace

std::string xml_escaped(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const char c = text.front();
    const std::size_t length = std::max<std::size_t>(base::utf8_sequence(text), 1);
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (base::utf8_sequence(text) != 0 && static_cast<unsigned char>(c) >= 0x20) {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

std::vector<double> linear_ticks(double high, int most) {
  if (!(high > 0)) high = 1;
  MXRING_ASSERT(most > 0 && high > 0);
  const double power = std::pow(10, std::floor(std::log10(high / most)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = power * factor;
    if (std::ceil(high / step) <= most) break;
  }
  MXRING_ASSERT(step > 0);
  std::vector<double> ticks;
  for (int i = 0;; ++i) {
    ticks.push_back(i * step);
    if (ticks.back() >= high) return ticks;
  }
}

std::vector<double> log_ticks(double low, double high) {
  if (!(low > 0)) low = 1;
  if (!(high > low)) high = low * 10;
  MXRING_ASSERT(low > 0 && high > low);
  std::vector<double> ticks;
  for (double power = std::pow(10, std::floor(std::log10(low)));; power *= 10) {
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double tick = power * factor;
      if (tick <= low) ticks.clear();
      ticks.push_back(tick);
      if (tick >= high) return ticks;
    }
  }
}

std::string to_svg(const LineChart& chart) {
  double x_high = 0;
  double y_low = 0;
  double y_high = 0;
  for (const ChartSeries& series : chart.series) {
    for (const ChartPoint& point : series.points) {
      if (!(point.y > 0)) continue;
      const double low = point.low > 0 ? std::min(point.low, point.y) : point.y;
      x_high = std::max(x_high, point.x);
      y_low = y_low == 0 ? low : std::min(y_low, low);
      y_high = std::max({y_high, point.y, point.high});
    }
  }
  MXRING_ASSERT(y_low <= y_high);
  const std::vector<double> x_ticks = linear_ticks(x_high, 8);
  const std::vector<double> y_ticks = log_ticks(y_low, y_high);
  MXRING_ASSERT(x_ticks.size() >= 2 && y_ticks.size() >= 2);
  const Scale scale{x_ticks.back(), y_ticks.front(), y_ticks.back()};
  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:g} {1:g}\" width=\"{0:g}\" "
      "height=\"{1:g}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n",
      kWidth, kHeight);
  out += text(kLeft, 28, "start", " font-size=\"17\" font-weight=\"bold\"", chart.title);
  out += text(kLeft, 48, "start", " fill=\"#555\"", chart.subtitle);
  out += axes(chart, scale, x_ticks, y_ticks);
  double name_y = -kHeight;
  std::vector<const ChartSeries*> by_height;
  for (const ChartSeries& series : chart.series) by_height.push_back(&series);
  // From the top downwards, so that names only ever move down.
  std::ranges::sort(by_height, [](const ChartSeries* a, const ChartSeries* b) {
    const auto end = [](const ChartSeries* s) {
      return s->points.empty() ? 0 : s->points.back().y;
    };
    return end(a) != end(b) ? end(a) > end(b) : a < b;
  });
  for (const ChartSeries* series : by_height) {
    const auto index = static_cast<std::size_t>(series - chart.series.data());
    out += drawn(*series, scale, kColours[index % std::size(kColours)], name_y);
  }
  return out + "</svg>\n";
}

}  // namespace mxring::tune
