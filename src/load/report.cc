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

std::string refusals(std::string_view name, const CodeCounts& codes, bool code_in_name) {
  std::string out;
  for (const auto& [code, entry] : codes) {
    std::string example = base::escaped(entry.example);
    if (example.size() > kExampleMax) example.resize(kExampleMax);
    out += code_in_name
               ? row(fmt::format("{} {}", name, code), base::format_count(entry.count), example)
               : row(name, base::format_count(entry.count), fmt::format("{} {}", code, example));
  }
  return out;
}

std::string failures(const Results& results) {
  std::string out = refusals("  answered", results.codes, true);
  for (std::size_t i = 0; i < results.losses.size(); ++i) {
    if (results.losses[i] == 0) continue;
    out += row("  lost", base::format_count(results.losses[i]), describe(static_cast<Loss>(i)));
  }
  return out + refusals("recipients refused", results.recipient_codes, false);
}

void write_refusals(base::JsonWriter& json, std::string_view key, const CodeCounts& codes) {
  json.key(key).begin_array();
  for (const auto& [code, entry] : codes) {
    json.begin_object().key("code").value(code).key("count").value(entry.count);
    json.key("text").value(entry.example).end_object();
  }
  json.end_array();
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
             fmt::format("in {:.2f} s, over {}", results.seconds,
                         base::counted(results.connections, "connection")));
  out +=
      row("accepted", base::format_count(results.accepted), share(results.accepted, results.sent));
  out += row("not accepted", base::format_count(results.not_accepted()),
             share(results.not_accepted(), results.sent));
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
  out +=
      row("client CPU", results.sent == 0 ? "-" : fmt::format("{:.1f} us", results.client_cpu_us),
          "per message");
  if (results.server_cpu && results.sent > 0) {
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
  write_refusals(json, "rejected", results.codes);
  // Every message sent is one of accepted, rejected and these.
  json.key("errors").value(results.lost);
  json.key("not_accepted").value(results.not_accepted());
  json.key("losses").begin_array();
  for (std::size_t i = 0; i < results.losses.size(); ++i) {
    if (results.losses[i] == 0) continue;
    json.begin_object().key("reason").value(describe(static_cast<Loss>(i)));
    json.key("count").value(results.losses[i]).end_object();
  }
  json.end_array();
  write_refusals(json, "recipients_rejected", results.recipient_codes);
  json.key("connections").value(results.connections);
  json.key("seconds").raw(fixed(results.seconds, 6));
  json.key("rate").raw(fixed(results.rate, 3));
  json.key("bytes_per_second").raw(fixed(results.content_bytes_per_second, 1));
  // Of accepted messages: without one there is nothing to say.
  const auto latency = [&](const char* key, std::uint64_t ns) {
    json.key(key);
    results.accepted == 0 ? json.null() : json.raw(to_us(ns));
  };
  json.key("latency_us").begin_object();
  for (const Quantile& quantile : kQuantiles) {
    latency(quantile.key, results.latency_ns->percentile(quantile.quantile));
  }
  latency("max", results.latency_ns->max());
  json.end_object();
  const bool any = results.sent > 0;
  json.key("cpu_us_per_message").begin_object().key("client");
  any ? json.raw(fixed(results.client_cpu_us, 3)) : json.null();
  json.key("server");
  any&& results.server_cpu ? json.raw(fixed(results.server_cpu->total_us, 3)) : json.null();
  json.end_object().key("notes").begin_array();
  for (const std::string& note : results.notes) json.value(note);
  json.end_array().end_object();
  return std::move(json).text() + '\n';
}

}  // namespace mxring::load
