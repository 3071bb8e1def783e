// A whole load run: prepares the messages, opens the connections, sends, and adds up.
//
// Thread: run_load() blocks its caller and calls `progress` on it, about ten times a second; the
// workers are threads of its own.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "load/options.h"
#include "load/tally.h"
#include "obs/histogram.h"

namespace mxring::load {

// How far a run is.
struct Progress {
  double fraction = 0;  // of the messages or of the duration
  double rate = 0;      // messages accepted per second, lately
  std::uint64_t p50_ns = 0;
  std::uint64_t p99_ns = 0;
  std::uint64_t failed = 0;  // rejected or lost
};

struct ServerCpu {
  double total_us = 0;  // per message, all threads
  double user_us = 0;
  double system_us = 0;
};

// What a run has shown. sent = accepted + rejected + lost.
struct Results {
  std::uint64_t sent = 0;
  std::uint64_t accepted = 0;
  std::uint64_t rejected = 0;  // answered 4xx or 5xx
  std::uint64_t lost = 0;      // ended without a reply
  CodeCounts codes;            // of the rejected
  std::array<std::uint64_t, static_cast<std::size_t>(Loss::kCount)> losses{};
  std::uint64_t recipients = 0;   // named to the server and answered, accepted or refused
  CodeCounts recipient_codes;     // of the refused among them, whatever became of the message
  std::uint64_t connections = 0;  // sessions greeted over the whole run
  double seconds = 0;             // from the start to the last decision
  double rate = 0;                // accepted messages per second
  double content_bytes_per_second = 0;
  std::unique_ptr<obs::Histogram> latency_ns;  // of accepted messages
  double client_cpu_us = 0;                    // per message sent
  std::optional<ServerCpu> server_cpu;
  std::string acknowledged;        // Tally::acknowledged of all, in no order
  std::vector<std::string> notes;  // lines a reader of the figures should know
  // Why the run could not do what it was asked to; empty when it did.
  std::string failure;

  std::uint64_t not_accepted() const { return rejected + lost; }
};

// The error is one line for a person: why nothing could be sent at all.
std::expected<Results, std::string> run_load(Options options,
                                             const std::function<void(const Progress&)>& progress);

}  // namespace mxring::load
