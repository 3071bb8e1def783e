// A run's results as people and programs read them.
#pragma once

#include <string>

#include "load/run.h"

namespace mxring::load {

// The line under a running test: "12,345/s  failed 3  p50 1.20 ms  p99 3.40 ms".
std::string progress_note(const Progress& progress);

// An aligned table, and the notes under it.
std::string results_table(const Results& results);

// One JSON object, in the words of --fail-if: sent = accepted + errors, and errors = the counts in
// rejected[{code,count,text}] + lost, whose reasons are in losses[{reason,count}]; then
// recipients_rejected[{code,count,text}] connections seconds rate bytes_per_second
// latency_us{p50,p90,p99,p999,max} cpu_us_per_message{client,server} notes[]. A `text` is the first
// reply's. Null: a latency when nothing was accepted, CPU when nothing was sent, `server` also when
// no process was named.
std::string results_json(const Results& results);

}  // namespace mxring::load
