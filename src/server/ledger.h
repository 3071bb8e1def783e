// Where the server's CPU time went, stage by stage, from the counters of its threads. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "obs/counters.h"

namespace mxring::server {

struct Ledger {
  struct Line {
    const char* stage;
    std::uint64_t ns;
  };
  Line lines[6];
  std::uint64_t stages_ns = 0;   // their sum
  std::uint64_t process_ns = 0;  // what the kernel says the process has used
  std::uint64_t messages = 0;    // decided: accepted or refused
  std::uint64_t turns = 0;       // of the event loops that were measured: what the stages rest on

  // One turn in 64 stands for all: with fewer measured ones the shares say little.
  static constexpr std::uint64_t kTurnsWanted = 200;
  bool enough() const { return turns >= kTurnsWanted; }
};

Ledger make_ledger(const obs::CounterRegistry& counters, std::uint64_t process_cpu_ns);

// A table for a person, microseconds per message, and shares once they rest on enough turns; ends
// with a newline.
std::string ledger_table(const Ledger& ledger);
// {"messages":..,"process_us_per_message":..,"stages_us_per_message":{"receive":..,...},
//  "measured_turns":..,"measured_turns_wanted":..}
std::string ledger_json(const Ledger& ledger);

// CPU time of this process so far, all threads.
std::uint64_t process_cpu_ns();
std::uint64_t thread_cpu_ns();  // of the thread that asks

}  // namespace mxring::server
