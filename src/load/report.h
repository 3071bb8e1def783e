// A run's results as people and programs read them.
#pragma once

#include <string>

#include "load/run.h"

namespace mxring::load {

// The line under a running test: "12,345/s  failed 3  p50 1.20 ms  p99 3.40 ms".
std::string progress_note(const Progress& progress);

// An aligned table, and the notes under it.
std::string results_table(const Results& results);

// One JSON object: sent accepted rejected[{code,count}] errors seconds rate
// latency_us{p50,p90,p99,p999,max} cpu_us_per_message{client,server}. `server` is null when no
// process was named.
std::string results_json(const Results& results);

}  // namespace mxring::load
