// What a sweep has shown, for people and programs: a table, JSON, CSV of every measurement, the
// lines of configuration to add, and the chart.
#pragma once

#include <string>

#include "tune/line_chart.h"
#include "tune/sweep.h"

namespace mxring::tune {

std::string sweep_table(const SweepResult& result, const SweepOptions& options);
// One object: goal rounds seconds current{} variants[] recommended[] confirmation{} left_out[]
// fixed[] advice.
std::string sweep_json(const SweepResult& result, const SweepOptions& options);
std::string sweep_csv(const SweepResult& result);
// Only when something is recommended: sections and keys, with the gain in a comment.
std::string sweep_toml(const SweepResult& result, const SweepOptions& options);
LineChart sweep_chart(const SweepResult& result, std::string_view subtitle);

// "keep the default" or "change log.commit_window to ...": one sentence.
std::string advice_sentence(const SweepResult& result, const SweepOptions& options);
// "-3.1 % (-4.0 to -2.2)" of a ratio.
std::string percent(const Interval& ratio);

}  // namespace mxring::tune
