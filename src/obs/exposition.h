// Counters as text for scrapers (Prometheus exposition format 0.0.4) and as one JSON object.
#pragma once

#include <string>

#include "obs/counters.h"
#include "obs/histogram.h"

namespace mxring::obs {

// Appends HELP, TYPE and value lines, names prefixed "mxring_".
void append_prometheus(std::string& out, const CounterRegistry& registry);
void append_prometheus_gauge(std::string& out, std::string_view name, std::string_view help,
                             std::uint64_t value);
// In seconds, of nanoseconds: cumulative buckets from half a millisecond to ten seconds, so that
// any span between two scrapes can be looked at alone. A bound is met to within 3 %.
void append_prometheus_histogram(std::string& out, std::string_view name, std::string_view help,
                                 const Histogram& nanoseconds);

// {"connections_accepted_total": 12, ..., "spf_results_total": {"none": 3, ...}, ...}
std::string to_json(const CounterRegistry& registry);

}  // namespace mxring::obs
