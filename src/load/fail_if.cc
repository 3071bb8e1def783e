#include "load/fail_if.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <iterator>

#include "base/text.h"
#include "base/units.h"

namespace mxring::load {

struct FailIf::Name {
  std::string_view name;
  Metric metric;
};

const FailIf::Name FailIf::kNames[] = {{"p50", Metric::kP50},
                                       {"p90", Metric::kP90},
                                       {"p99", Metric::kP99},
                                       {"p999", Metric::kP999},
                                       {"p99.9", Metric::kP999},
                                       {"max", Metric::kMax},
                                       {"rate", Metric::kRate},
                                       {"errors", Metric::kErrors},
                                       {"rejected", Metric::kRejected},
                                       {"lost", Metric::kLost},
                                       {"recipients_rejected", Metric::kRecipientsRejected}};

namespace {

constexpr std::string_view kExamples = "write p99>20ms, rate<5000 or errors>0.1%";

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::optional<double> parse_number(std::string_view text) {
  double number = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error != std::errc{} || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

// "20ms", and unlike parse_duration_ns() also "1.5ms".
std::optional<double> parse_time_ns(std::string_view text) {
  const std::size_t unit_at = text.find_first_not_of("0123456789.");
  if (unit_at == std::string_view::npos) return std::nullopt;
  const auto number = parse_number(text.substr(0, unit_at));
  const auto unit = base::parse_duration_ns(fmt::format("1{}", trim(text.substr(unit_at))));
  if (!number || !unit) return std::nullopt;
  return *number * static_cast<double>(*unit);
}

}  // namespace

std::expected<FailIf, std::string> FailIf::parse(std::string_view text) {
  const auto wrong = [text](std::string_view why) {
    return std::unexpected(
        fmt::format("--fail-if {}: {}; {}", base::escaped(text), why, kExamples));
  };
  FailIf condition;
  condition.text_ = text;
  const std::size_t at = text.find_first_of("<>");
  if (at == std::string_view::npos) return wrong("no comparison (> >= < <=)");
  const std::string_view name = trim(text.substr(0, at));
  const bool or_equal = text.substr(at + 1).starts_with('=');
  const bool above = text[at] == '>';
  condition.comparison_ = above ? (or_equal ? Comparison::kAtLeast : Comparison::kAbove)
                                : (or_equal ? Comparison::kAtMost : Comparison::kBelow);
  const Name* found = nullptr;
  for (const Name& known : kNames) {
    if (known.name == name) found = &known;
  }
  if (found == nullptr) {
    return wrong("not one of p50 p90 p99 p999 max rate errors rejected lost recipients_rejected");
  }
  condition.metric_ = found->metric;
  condition.name_ = found->name;
  std::string_view value = trim(text.substr(at + (or_equal ? 2 : 1)));
  std::optional<double> threshold;
  if (condition.is_latency()) {
    threshold = parse_time_ns(value);
    if (!threshold) return wrong("not a time with a unit (us, ms, s)");
  } else {
    condition.percent_ = condition.metric_ != Metric::kRate && value.ends_with('%');
    if (condition.percent_) value = trim(value.substr(0, value.size() - 1));
    if (condition.metric_ == Metric::kRate && value.ends_with("/s")) value.remove_suffix(2);
    threshold = parse_number(value);
    if (!threshold) return wrong("not a number");
  }
  condition.threshold_ = *threshold;
  return condition;
}

std::optional<double> FailIf::measure(const Results& results) const {
  const auto latency = [&results](double quantile) {
    return static_cast<double>(results.latency_ns->percentile(quantile));
  };
  const auto share = [&](std::uint64_t count, std::uint64_t whole) {
    const auto number = static_cast<double>(count);
    if (!percent_) return number;
    return whole == 0 ? 0.0 : 100 * number / static_cast<double>(whole);
  };
  if (is_latency() && results.accepted == 0) return std::nullopt;
  switch (metric_) {
    case Metric::kP50:
      return latency(0.5);
    case Metric::kP90:
      return latency(0.9);
    case Metric::kP99:
      return latency(0.99);
    case Metric::kP999:
      return latency(0.999);
    case Metric::kMax:
      return static_cast<double>(results.latency_ns->max());
    case Metric::kRate:
      return results.rate;
    case Metric::kErrors:
      return share(results.not_accepted(), results.sent);
    case Metric::kRejected:
      return share(results.rejected, results.sent);
    case Metric::kLost:
      return share(results.lost, results.sent);
    case Metric::kRecipientsRejected:
      return share(sum_of(results.recipient_codes), results.recipients);
  }
  return std::nullopt;
}

bool FailIf::holds(double value) const {
  switch (comparison_) {
    case Comparison::kAbove:
      return value > threshold_;
    case Comparison::kAtLeast:
      return value >= threshold_;
    case Comparison::kBelow:
      return value < threshold_;
    case Comparison::kAtMost:
      return value <= threshold_;
  }
  return false;
}

std::optional<std::string> FailIf::broken_by(const Results& results) const {
  const auto measured = measure(results);
  if (!measured || !holds(*measured)) return std::nullopt;
  const double value = *measured;
  if (is_latency()) {
    return fmt::format("{} is {}", name_, base::format_duration(static_cast<std::int64_t>(value)));
  }
  if (metric_ == Metric::kRate) return fmt::format("rate is {:.1f}/s", value);
  if (percent_) return fmt::format("{} is {:.3g} %", name_, value);
  return fmt::format("{} is {:.0f}", name_, value);
}

}  // namespace mxring::load
