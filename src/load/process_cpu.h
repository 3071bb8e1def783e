// CPU time a process has used so far, all its threads, as /proc tells it.
//
// /proc/PID/stat splits it into user and system, in ticks of 10 ms, and includes threads that have
// ended; /proc/PID/task/*/schedstat has nanoseconds, only of the living. The total is taken from
// the finer source as long as both agree, the split always from the ticks.
#pragma once

#include <optional>

namespace mxring::load {

struct ProcessCpu {
  double total_seconds = 0;
  double user_seconds = 0;
  double system_seconds = 0;
};

// Nothing when there is no such process or its /proc cannot be read.
std::optional<ProcessCpu> read_process_cpu(int pid);

}  // namespace mxring::load
