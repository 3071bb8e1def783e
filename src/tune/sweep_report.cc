#include "tune/sweep_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/units.h"
#include "tune/check_report.h"

namespace mxring::tune {

namespace {

// The other way round: slowness is what is judged, a rate is what people read.
Interval rate_of(const Interval& slowness) {
  return {1 / slowness.estimate, 1 / slowness.high, 1 / slowness.low};
}

std::string_view decision_word(const VariantResult& variant) {
  if (variant.rounds == 0) return "failed";
  switch (variant.decision) {
    case Decision::kTake:
      return variant.note.empty() ? "better" : "not judged";
    case Decision::kKeepNoise:
      return "noise";
    case Decision::kKeepWorse:
      return "worse";
    case Decision::kKeepAtACost:
      break;
  }
  return "at a cost";
}

void write_interval(base::JsonWriter& json, std::string_view name, const Interval& ratio) {
  json.key(name).begin_object().key("ratio").value(ratio.estimate);
  json.key("low").value(ratio.low).key("high").value(ratio.high).end_object();
}

void write_comparison(base::JsonWriter& json, const Comparison& comparison) {
  write_interval(json, "cpu", comparison.cpu);
  write_interval(json, "rate", rate_of(comparison.slowness));
  write_interval(json, "p99", comparison.p99);
}

std::string table_line(const VariantResult& variant) {
  const std::string name = fmt::format("{} = {}", variant.key, variant.value);
  if (variant.rounds < 2) return fmt::format("{:<36}  failed: {}\n", name, variant.note);
  const auto change = [](const Interval& ratio) {
    return fmt::format("{:+.1f}", 100 * (ratio.estimate - 1));
  };
  const Interval& cpu = variant.comparison.cpu;
  return fmt::format("{:<36}{:>7} {:>15}{:>7}{:>7}  {}\n", name, change(cpu),
                     fmt::format("({:+.1f},{:+.1f})", 100 * (cpu.low - 1), 100 * (cpu.high - 1)),
                     change(rate_of(variant.comparison.slowness)), change(variant.comparison.p99),
                     decision_word(variant));
}

}  // namespace

std::string percent(const Interval& ratio) {
  return fmt::format("{:+.1f} % ({:+.1f} to {:+.1f})", 100 * (ratio.estimate - 1),
                     100 * (ratio.low - 1), 100 * (ratio.high - 1));
}

std::string advice_sentence(const SweepResult& result, const SweepOptions& options) {
  if (!result.recommended.empty()) {
    std::string out = "change ";
    for (const Assignment& assignment : result.recommended) {
      if (&assignment != result.recommended.data()) out += ", ";
      out += fmt::format("{} to {}", assignment.key, assignment.value);
    }
    const Interval& gain = of_goal(*result.confirmation, options.rule.goal);
    return out + fmt::format(": {} {}, confirmed in {}",
                             options.rule.goal == Goal::kRate  ? "time per message"
                             : options.rule.goal == Goal::kCpu ? "CPU per message"
                                                               : "p99",
                             percent(gain), base::counted(result.confirmation_pairs, "pair"));
  }
  if (result.confirmation) {
    return "keep the default: what looked better did not when it was measured again";
  }
  return "keep the default: no change gains more than noise";
}

std::string sweep_table(const SweepResult& result, const SweepOptions& options) {
  std::string out = fmt::format(
      "the default: {:.1f} us of CPU a message, {:.0f} messages/s, p50 {:.0f} us, p99 {:.0f} us\n"
      "changes in percent, medians of {}; in brackets the {:.0f} % interval\n\n"
      "{:<36}{:>7} {:>15}{:>7}{:>7}\n",
      result.current.cpu_us, result.current.rate, result.current.p50_us, result.current.p99_us,
      base::counted(result.rounds, "interleaved round"), options.confidence * 100, "", "CPU", "",
      "msg/s", "p99");
  for (const VariantResult& variant : result.variants) out += table_line(variant);
  for (const VariantResult& variant : result.variants) {
    if (variant.note.empty() || variant.rounds < 2) continue;
    const std::string text = fmt::format("{} = {}: {}", variant.key, variant.value, variant.note);
    out += '\n';
    for (const std::string& line : wrapped(text, 78)) out += line + '\n';
  }
  if (!result.left_out.empty()) {
    const std::string text = fmt::format("left out, the time (--time) being short: {}",
                                         fmt::join(result.left_out, ", "));
    out += '\n';
    for (const std::string& line : wrapped(text, 78)) out += line + '\n';
  }
  if (result.confirmation) {
    out += fmt::format(
        "\nconfirmation, {}: CPU {}, messages/s {}, p99 {}\n",
        base::counted(result.confirmation_pairs, "pair"), percent(result.confirmation->cpu),
        percent(rate_of(result.confirmation->slowness)), percent(result.confirmation->p99));
  }
  out += "\nfixed by design\n";
  for (const FixedThing& thing : fixed_by_design()) {
    for (const std::string& line : wrapped(fmt::format("{}: {}", thing.name, thing.why), 76)) {
      out += fmt::format("  {}\n", line);
    }
  }
  return out + fmt::format("\n{}\n", advice_sentence(result, options));
}

std::string sweep_json(const SweepResult& result, const SweepOptions& options) {
  base::JsonWriter json;
  json.begin_object().key("goal").value(word(options.rule.goal));
  json.key("rounds").value(result.rounds).key("seconds").value(result.seconds);
  json.key("current").begin_object().key("cpu_us").value(result.current.cpu_us);
  json.key("rate").value(result.current.rate).key("p50_us").value(result.current.p50_us);
  json.key("p99_us").value(result.current.p99_us).end_object();
  json.key("variants").begin_array();
  for (const VariantResult& variant : result.variants) {
    json.begin_object().key("key").value(variant.key).key("value").value(variant.value);
    json.key("rounds").value(variant.rounds).key("finding").value(decision_word(variant));
    json.key("note").value(variant.note);
    if (variant.rounds >= 2) write_comparison(json, variant.comparison);
    json.end_object();
  }
  json.end_array().key("recommended").begin_array();
  for (const Assignment& assignment : result.recommended) {
    json.begin_object().key("key").value(assignment.key);
    json.key("value").value(assignment.value).end_object();
  }
  json.end_array().key("confirmation");
  if (result.confirmation) {
    json.begin_object().key("pairs").value(result.confirmation_pairs);
    write_comparison(json, *result.confirmation);
    json.end_object();
  } else {
    json.null();
  }
  json.key("left_out").begin_array();
  for (const std::string& key : result.left_out) json.value(key);
  json.end_array().key("fixed").begin_array();
  for (const FixedThing& thing : fixed_by_design()) {
    json.begin_object().key("name").value(thing.name).key("why").value(thing.why).end_object();
  }
  json.end_array().key("advice").value(advice_sentence(result, options)).end_object();
  return std::move(json).text() + '\n';
}

std::string sweep_csv(const SweepResult& result) {
  std::string out = "part,round,key,value,offered_per_s,cpu_us,messages_per_s,p50_us,p99_us\n";
  for (const Measurement& m : result.measurements) {
    // Values may hold quotes of TOML; RFC 4180 doubles them.
    std::string value;
    for (const char c : m.value) value += c == '"' ? "\"\"" : std::string(1, c);
    out += fmt::format("{},{},{},\"{}\",{:.1f},{:.2f},{:.1f},{:.1f},{:.1f}\n", m.part, m.round,
                       m.key.empty() ? "default" : m.key, value, m.offered_rate, m.sample.cpu_us,
                       m.sample.rate, m.sample.p50_us, m.sample.p99_us);
  }
  return out;
}

std::string sweep_toml(const SweepResult& result, const SweepOptions& options) {
  if (result.recommended.empty()) return {};
  std::vector<Assignment> sorted = result.recommended;
  std::ranges::sort(sorted, {}, &Assignment::key);
  std::string out =
      "# From mxring tune sweep on this host.\n# " + advice_sentence(result, options) + '\n';
  std::string section;
  for (const Assignment& assignment : sorted) {
    const std::size_t dot = assignment.key.find('.');
    if (assignment.key.substr(0, dot) != section) {
      section = assignment.key.substr(0, dot);
      out += fmt::format("\n[{}]\n", section);
    }
    out += fmt::format("{} = {}\n", assignment.key.substr(dot + 1), assignment.value);
  }
  return out;
}

LineChart sweep_chart(const SweepResult& result, std::string_view subtitle) {
  LineChart chart;
  chart.title = "p99 latency against offered rate";
  chart.subtitle = subtitle;
  chart.x_title = "messages offered per second (open loop)";
  chart.y_title = "p99 latency, ms (from the planned time)";
  const auto add = [&chart](const char* name, const std::vector<ChartResult>& curve) {
    if (curve.empty()) return;
    ChartSeries series{name, {}};
    for (const ChartResult& point : curve) {
      if (point.p99_us.empty()) continue;
      const auto [low, high] = std::ranges::minmax(point.p99_us);
      series.points.push_back(
          {point.offered_rate, median(point.p99_us) / 1000, low / 1000, high / 1000});
    }
    chart.series.push_back(std::move(series));
  };
  add("default", result.current_curve);
  add("recommended", result.recommended_curve);
  return chart;
}

}  // namespace mxring::tune
