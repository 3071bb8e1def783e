#include "obs/exposition.h"

#include <fmt/format.h>

#include <array>
#include <iterator>

#include "base/assert.h"
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
      fmt::format_to(at, "# HELP mxring_{0} {1}\n# TYPE mxring_{0} {2}\n", family, about.help,
                     family.ends_with("_total") ? "counter" : "gauge");
    }
    fmt::format_to(at, "mxring_{}", about.name);
    if (!about.label.empty()) fmt::format_to(at, "{{{}=\"{}\"}}", about.label, about.value);
    if (in_seconds(about)) {
      fmt::format_to(at, " {:.9f}\n", static_cast<double>(registry.sum(counter)) * 1e-9);
    } else {
      fmt::format_to(at, " {}\n", registry.sum(counter));
    }
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

void append_prometheus_histogram(std::string& out, std::string_view name, std::string_view help,
                                 const Histogram& nanoseconds) {
  static constexpr std::array kBounds{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                      0.1,    0.25,  0.5,    1.0,   2.5,  5.0,   10.0};
  auto at = std::back_inserter(out);
  fmt::format_to(at, "# HELP mxring_{0} {1}\n# TYPE mxring_{0} histogram\n", name, help);
  // One pass, so that the counts agree with each other although they grow meanwhile.
  std::uint64_t seen = 0;
  std::size_t bucket = 0;
  for (const double bound : kBounds) {
    const auto bound_ns = static_cast<std::uint64_t>(bound * 1e9);
    while (bucket < Histogram::kBuckets && Histogram::bucket_upper(bucket) <= bound_ns) {
      seen += nanoseconds.in_bucket(bucket++);
    }
    fmt::format_to(at, "mxring_{}_bucket{{le=\"{}\"}} {}\n", name, bound, seen);
  }
  while (bucket < Histogram::kBuckets) seen += nanoseconds.in_bucket(bucket++);
  fmt::format_to(
      at, "mxring_{0}_bucket{{le=\"+Inf\"}} {1}\nmxring_{0}_sum {2:.9f}\nmxring_{0}_count {1}\n",
      name, seen, static_cast<double>(nanoseconds.sum()) * 1e-9);
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
    json.key(about.label.empty() ? about.name : about.value);
    const std::uint64_t sum = registry.sum(counter);
    in_seconds(about) ? json.value(static_cast<double>(sum) * 1e-9) : json.value(sum);
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
