#include "obs/exposition.h"

#include <fmt/format.h>

#include <iterator>

#include "base/json.h"

namespace mxring::obs {

void append_prometheus(std::string& out, const CounterRegistry& registry) {
  auto at = std::back_inserter(out);
  std::string_view family;
  for (std::size_t i = 0; i < static_cast<std::size_t>(Counter::kCount); ++i) {
    const auto counter = static_cast<Counter>(i);
    const CounterInfo& about = info(counter);
    if (about.name != family) {
      family = about.name;
      fmt::format_to(at, "# HELP mxring_{0} {1}\n# TYPE mxring_{0} counter\n", family, about.help);
    }
    fmt::format_to(at, "mxring_{}", about.name);
    if (!about.label.empty()) fmt::format_to(at, "{{{}=\"{}\"}}", about.label, about.value);
    fmt::format_to(at, " {}\n", registry.sum(counter));
  }
  const Family& labelled = registry.family();
  if (labelled.values.empty()) return;
  fmt::format_to(at, "# HELP mxring_{0} {1}\n# TYPE mxring_{0} counter\n", labelled.name,
                 labelled.help);
  for (std::size_t i = 0; i < labelled.values.size(); ++i) {
    fmt::format_to(at, "mxring_{}{{{}=\"{}\"}} {}\n", labelled.name, labelled.label,
                   labelled.values[i], registry.sum_of_family(i));
  }
}

void append_prometheus_gauge(std::string& out, std::string_view name, std::string_view help,
                             std::uint64_t value) {
  fmt::format_to(std::back_inserter(out),
                 "# HELP mxring_{0} {1}\n# TYPE mxring_{0} gauge\nmxring_{0} {2}\n", name, help,
                 value);
}

void append_prometheus_summary(std::string& out, std::string_view name, std::string_view help,
                               const Histogram& histogram, double scale) {
  auto at = std::back_inserter(out);
  fmt::format_to(at, "# HELP mxring_{0} {1}\n# TYPE mxring_{0} summary\n", name, help);
  for (const double quantile : {0.5, 0.9, 0.99, 0.999}) {
    const auto value = static_cast<double>(histogram.percentile(quantile)) * scale;
    fmt::format_to(at, "mxring_{}{{quantile=\"{}\"}} {}\n", name, quantile, value);
  }
  const auto count = static_cast<double>(histogram.count());
  fmt::format_to(at, "mxring_{0}_sum {1}\nmxring_{0}_count {2}\n", name,
                 histogram.mean() * count * scale, histogram.count());
}

std::string to_json(const CounterRegistry& registry) {
  base::JsonWriter json;
  json.begin_object();
  std::string_view family;  // the one whose object is open
  for (std::size_t i = 0; i < static_cast<std::size_t>(Counter::kCount); ++i) {
    const auto counter = static_cast<Counter>(i);
    const CounterInfo& about = info(counter);
    if (!family.empty() && family != about.name) {
      json.end_object();
      family = {};
    }
    if (!about.label.empty() && family.empty()) {
      json.key(about.name).begin_object();
      family = about.name;
    }
    json.key(about.label.empty() ? about.name : about.value).value(registry.sum(counter));
  }
  if (!family.empty()) json.end_object();
  const Family& labelled = registry.family();
  if (!labelled.values.empty()) {
    json.key(labelled.name).begin_object();
    for (std::size_t i = 0; i < labelled.values.size(); ++i) {
      json.key(labelled.values[i]).value(registry.sum_of_family(i));
    }
    json.end_object();
  }
  json.end_object();
  return std::move(json).text();
}

}  // namespace mxring::obs
