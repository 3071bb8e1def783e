#include "tune/statistics.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/assert.h"

namespace mxring::tune {

double median(std::span<const double> values) {
  if (values.empty()) return 0;
  std::vector<double> sorted(values.begin(), values.end());
  std::ranges::sort(sorted);
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

namespace {

// P(|T| <= t) by the finite sums for whole degrees of freedom (Abramowitz and Stegun 26.7.3, .4).
double student_probability(double t, unsigned degrees) {
  MXRING_ASSERT(degrees >= 1 && t >= 0);
  const double theta = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double cosine = std::cos(theta);
  const double sine = std::sin(theta);
  double term = degrees % 2 == 1 ? cosine : 1;
  double sum = degrees == 1 ? 0 : term;
  for (unsigned k = degrees % 2 == 1 ? 3 : 2; k < degrees; k += 2) {
    term *= cosine * cosine * (k - 1) / k;
    sum += term;
  }
  return degrees % 2 == 1 ? 2 / std::numbers::pi * (theta + sine * sum) : sine * sum;
}

}  // namespace

double student_t(double confidence, unsigned degrees) {
  MXRING_ASSERT(confidence > 0 && confidence < 1 && degrees >= 1);
  double low = 0;
  double high = 1;
  while (student_probability(high, degrees) < confidence) high *= 2;
  MXRING_ASSERT(low < high);
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (student_probability(middle, degrees) < confidence ? low : high) = middle;
  }
  return (low + high) / 2;
}

Interval mean_interval(std::span<const double> values, double confidence) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (values.empty()) return {0, -kInfinity, kInfinity};
  const auto count = static_cast<double>(values.size());
  double sum = 0;
  for (const double value : values) sum += value;
  const double mean = sum / count;
  if (values.size() < 2) return {mean, -kInfinity, kInfinity};
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  MXRING_ASSERT(values.size() >= 2 && squares >= 0);
  const double error = std::sqrt(squares / (count - 1) / count);
  const double reach = student_t(confidence, static_cast<unsigned>(values.size()) - 1) * error;
  MXRING_ASSERT(reach >= 0);
  return {mean, mean - reach, mean + reach};
}

Interval ratio_interval(std::span<const double> base, std::span<const double> changed,
                        double confidence) {
  MXRING_ASSERT(base.size() == changed.size());
  std::vector<double> logarithms;
  for (std::size_t i = 0; i < base.size(); ++i) {
    MXRING_ASSERT(base[i] > 0 && changed[i] > 0);
    logarithms.push_back(std::log(changed[i] / base[i]));
  }
  MXRING_ASSERT(logarithms.size() == base.size());
  const Interval log = mean_interval(logarithms, confidence);
  return {std::exp(log.estimate), std::exp(log.low), std::exp(log.high)};
}

Finding judge(const Interval& ratio, double least_gain) {
  MXRING_ASSERT(!(ratio.low > ratio.high) && least_gain >= 0);
  if (ratio.high < 1 && ratio.estimate <= 1 - least_gain) return Finding::kBetter;
  if (ratio.low > 1 && ratio.estimate >= 1 + least_gain) return Finding::kWorse;
  return Finding::kNoise;
}

std::string_view word(Goal goal) {
  switch (goal) {
    case Goal::kCpu:
      return "cpu";
    case Goal::kRate:
      return "rate";
    case Goal::kP99:
      break;
  }
  return "p99";
}

const Interval& of_goal(const Comparison& comparison, Goal goal) {
  switch (goal) {
    case Goal::kCpu:
      return comparison.cpu;
    case Goal::kRate:
      return comparison.slowness;
    case Goal::kP99:
      break;
  }
  return comparison.p99;
}

Decision decide(const Comparison& comparison, const DecisionRule& rule) {
  MXRING_ASSERT(rule.least_gain >= 0 && rule.cost_max >= 0);
  switch (judge(of_goal(comparison, rule.goal), rule.least_gain)) {
    case Finding::kNoise:
      return Decision::kKeepNoise;
    case Finding::kWorse:
      return Decision::kKeepWorse;
    case Finding::kBetter:
      break;
  }
  for (const Goal other : {Goal::kCpu, Goal::kRate, Goal::kP99}) {
    if (other == rule.goal) continue;
    if (judge(of_goal(comparison, other), rule.cost_max) == Finding::kWorse) {
      return Decision::kKeepAtACost;
    }
  }
  return Decision::kTake;
}

}  // namespace mxring::tune
