// What a few noisy measurements allow to say. Pairs of measurements made one after the other are
// compared by their ratio, so that a slow minute of the machine, which hits both, drops out; the
// interval is Student's t on the logarithms of the ratios.
//
// Thread: any; pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace mxring::tune {

struct Interval {
  double estimate = 0;
  double low = 0;
  double high = 0;
};

double median(std::span<const double> values);  // 0 when there is none

// The t with P(|T| <= t) = confidence for so many degrees of freedom (at least 1).
double student_t(double confidence, unsigned degrees);
// Of the mean; without bounds (infinite) when there are fewer than two values.
Interval mean_interval(std::span<const double> values, double confidence);
// Of changed[i] / base[i], both positive and of one length. An estimate below 1: smaller.
Interval ratio_interval(std::span<const double> base, std::span<const double> changed,
                        double confidence);

// What a comparison says about a change, for a measure of which less is better.
enum class Finding : std::uint8_t {
  kBetter,  // surely, and by at least the least gain worth a change
  kWorse,   // likewise
  kNoise,   // neither
};
Finding judge(const Interval& ratio, double least_gain);

// The measures of one variant beside the default's: CPU per message, messages a second, p99.
struct Comparison {
  Interval cpu;       // ratio, less is better
  Interval slowness;  // of 1 / messages a second: ratio, less is better
  Interval p99;       // ratio, less is better
};
enum class Goal : std::uint8_t { kCpu, kRate, kP99 };
std::string_view word(Goal goal);
const Interval& of_goal(const Comparison& comparison, Goal goal);

enum class Decision : std::uint8_t {
  kTake,         // better at the goal, and nothing else is worse
  kKeepNoise,    // the gain, if any, is noise
  kKeepWorse,    // worse at the goal
  kKeepAtACost,  // better at the goal, but another measure is worse
};
struct DecisionRule {
  Goal goal = Goal::kCpu;
  double least_gain = 0.03;  // of the goal
  double cost_max = 0.05;    // surely more than this at another measure forbids it
};
Decision decide(const Comparison& comparison, const DecisionRule& rule);

}  // namespace mxring::tune
