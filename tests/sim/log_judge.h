// Reads a log from the simulated disk as src/seglog/FORMAT.md has it, and shares no code with
// src/seglog: what an acknowledgement is worth is decided here.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/disk.h"

namespace mxring::sim {

struct JudgedRecord {
  std::uint64_t offset = 0;
  std::string message;
  std::string mail_from;
  std::vector<std::string> recipients;
  std::string disposition;
  std::string client_ip;
  bool tls = false;
};

struct JudgedLog {
  std::vector<JudgedRecord> records;  // refused mail included
  std::uint64_t first = 0;            // of the oldest segment
  std::uint64_t next = 0;
  std::uint64_t lost = 0;  // offsets that are told as damaged
  std::string trouble;     // what breaks the format; empty: nothing
};

// Of a log whose writer has stopped cleanly: every segment bears a seal.
JudgedLog read_log(Disk& disk, const std::string& directory);

}  // namespace mxring::sim
