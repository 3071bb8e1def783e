#include "load/report.h"

#include <fmt/format.h>

#include <cstddef>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"

namespace mxring::load {

namespace {

constexpr int kNameWidth = 24;
constexpr int kValueWidth = 12;
constexpr std::size_t kExampleMax = 60;

struct Quantile {
  const char* key;   // in JSON
  const char* name;  // in the table
  double quantile;
};
constexpr Quantile kQuantiles[] = {
    {"p50", "p50", 0.5}, {"p90", "p90", 0.9}, {"p99", "p99", 0.99}, {"p999", "p99.9", 0.999}};

// Never in exponential form, for programs whose idea of a number is narrow.
std::string fixed(double value, int decimals) {
  return fmt::format("{:.{}f}", value, decimals);
}

std::string to_us(std::uint64_t ns) {
  return fixed(static_cast<double>(ns) / 1000, 1);
}

std::string row(std::string_view name, std::string_view value, std::string_view comment = {}) {
  std::string line = fmt::format("{:<{}}{:>{}}", name, kNameWidth, value, kValueWidth);
  if (!comment.empty()) line += fmt::format("  {}", comment);
  return line + '\n';
}

std::string share(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0) return {};
  return fmt::format("{:.2f} %", 100 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string failures(const Results& results) {
  std::string out;
  for (const auto& [code, entry] : results.codes) {
    std::string example = base::escaped(entry.example);
    if (example.size() > kExampleMax) example.resize(kExampleMax);
    out += row(fmt::format("  answered {}", code), base::format_count(entry.count), example);
  }
  for (std::size_t i = 0; i < results.losses.size(); ++i) {
    if (results.losses[i] == 0) continue;
    out += row("  lost", base::format_count(results.losses[i]), describe(static_cast<Loss>(i)));
  }
  if (results.recipients_refused > 0) {
    out += row("recipients refused", base::format_count(results.recipients_refused),
               "of messages that went to others");
  }
  return out;
}

}  // namespace

std::string progress_note(const Progress& progress) {
  std::string note = base::format_count(static_cast<std::uint64_t>(progress.rate)) + "/s";
  if (progress.failed > 0) note += fmt::format("  failed {}", base::format_count(progress.failed));
  note += fmt::format("  p50 {}  p99 {}",
                      base::format_duration(static_cast<std::int64_t>(progress.p50_ns)),
                      base::format_duration(static_cast<std::int64_t>(progress.p99_ns)));
  return note;
}

std::string results_table(const Results& results) {
  std::string out;
  out += row("messages sent", base::format_count(results.sent),
             fmt::format("in {:.2f} s, over {} connections", results.seconds,
                         base::format_count(results.connections)));
  out +=
      row("accepted", base::format_count(results.accepted), share(results.accepted, results.sent));
  out += row("not accepted", base::format_count(results.rejected + results.errors),
             share(results.rejected + results.errors, results.sent));
  out += failures(results);
  out += row("messages/s", fmt::format("{:.1f}", results.rate));
  out += row("MB/s", fmt::format("{:.2f}", results.content_bytes_per_second / 1e6));
  const auto latency = [&results](std::uint64_t ns) {
    if (results.accepted == 0) return std::string("-");
    return base::format_duration(static_cast<std::int64_t>(ns));
  };
  for (const Quantile& quantile : kQuantiles) {
    out += row(fmt::format("latency {}", quantile.name),
               latency(results.latency_ns->percentile(quantile.quantile)));
  }
  out += row("latency max", latency(results.latency_ns->max()));
  out += row("client CPU", fmt::format("{:.1f} us", results.client_cpu_us), "per message");
  if (results.server_cpu) {
    out += row("server CPU", fmt::format("{:.1f} us", results.server_cpu->total_us),
               fmt::format("per message, all threads: user {:.1f}, system {:.1f}",
                           results.server_cpu->user_us, results.server_cpu->system_us));
  }
  for (const std::string& note : results.notes) out += fmt::format("note: {}\n", note);
  return out;
}

std::string results_json(const Results& results) {
  base::JsonWriter json;
  json.begin_object();
  json.key("sent").value(results.sent).key("accepted").value(results.accepted);
  json.key("rejected").begin_array();
  for (const auto& [code, entry] : results.codes) {
    json.begin_object().key("code").value(code).key("count").value(entry.count).end_object();
  }
  json.end_array();
  json.key("errors").value(results.errors);
  json.key("seconds").raw(fixed(results.seconds, 6));
  json.key("rate").raw(fixed(results.rate, 3));
  json.key("latency_us").begin_object();
  for (const Quantile& quantile : kQuantiles) {
    json.key(quantile.key).raw(to_us(results.latency_ns->percentile(quantile.quantile)));
  }
  json.key("max").raw(to_us(results.latency_ns->max())).end_object();
  json.key("cpu_us_per_message").begin_object();
  json.key("client").raw(fixed(results.client_cpu_us, 3)).key("server");
  results.server_cpu ? json.raw(fixed(results.server_cpu->total_us, 3)) : json.null();
  json.end_object().end_object();
  return std::move(json).text() + '\n';
}

}  // namespace mxring::load
