// Conditions on a run's results that make the command fail: "p99>20ms", "rate<5000", "errors>0.1%".
//
//   p50 p90 p99 p999 max   latency; a time with its unit
//   rate                   accepted messages per second; "5000" or "5000/s"
//   errors                 messages not accepted, refused or lost; a number, or a share in %
//   rejected               of them, those answered 4xx or 5xx; likewise
//   lost                   of them, those that got no reply; likewise
//   recipients_rejected    recipients answered 4xx or 5xx; a number, or a share of all recipients
//
// Operators: > >= < <=. The condition says what is bad. Without an accepted message there is no
// latency, and no condition on it holds.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "load/run.h"

namespace mxring::load {

class FailIf {
 public:
  // The error is one line for a person.
  static std::expected<FailIf, std::string> parse(std::string_view text);

  // What came out, in words, when the condition holds: "p99 is 31.2 ms".
  std::optional<std::string> broken_by(const Results& results) const;
  const std::string& text() const { return text_; }

 private:
  enum class Metric : std::uint8_t {
    kP50,
    kP90,
    kP99,
    kP999,
    kMax,
    kRate,
    kErrors,
    kRejected,
    kLost,
    kRecipientsRejected
  };
  enum class Comparison : std::uint8_t { kAbove, kAtLeast, kBelow, kAtMost };

  struct Name;
  static const Name kNames[];
  std::optional<double> measure(const Results& results) const;  // nothing: no sample
  bool holds(double value) const;
  bool is_latency() const { return metric_ <= Metric::kMax; }

  std::string text_;
  std::string name_;
  Metric metric_ = Metric::kP99;
  Comparison comparison_ = Comparison::kAbove;
  bool percent_ = false;  // of the messages sent
  double threshold_ = 0;  // nanoseconds, messages a second, messages, or percent
};

}  // namespace mxring::load
