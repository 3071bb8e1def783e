// What one worker has counted. Every message of the run ends in exactly one of `accepted`,
// `rejected` and `lost`; `sent` is their sum once the run is over.
//
// Thread: written by the worker. The atomics and the histogram may be read by anybody meanwhile, a
// little out of date; the rest only after the worker has ended.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "obs/histogram.h"

namespace mxring::load {

// Why a message ended without a reply that decides it.
enum class Loss : std::uint8_t {
  kRefused,     // nobody listens: connection refused
  kNoRoute,     // any other failure to connect
  kReset,       // the connection broke
  kClosed,      // the server closed the connection
  kTimeout,     // no connection or no reply in time
  kNonsense,    // what came is no SMTP reply, or not one that belongs here
  kTls,         // no TLS, or the handshake failed, or a record
  kLocal,       // this host is out of ports, descriptors or memory
  kUnfinished,  // in flight when the run was cut off
  kUnsent,      // planned, but no connection was free before the run was cut off
  kCount
};
std::string_view describe(Loss loss);

struct CodeCount {
  std::uint64_t count = 0;
  std::string example;  // text of the first such reply
};

// Refusals by reply code.
using CodeCounts = std::map<int, CodeCount>;
void count_refusal(CodeCounts& counts, int code, std::string_view text);
std::uint64_t sum_of(const CodeCounts& counts);

struct Tally {
  std::atomic<std::uint64_t> sent{0};
  std::atomic<std::uint64_t> accepted{0};
  std::atomic<std::uint64_t> rejected{0};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> content_bytes{0};  // of accepted messages
  obs::Histogram latency_ns;                    // of accepted messages, from the planned time

  CodeCounts codes;  // of rejected messages
  std::array<std::uint64_t, static_cast<std::size_t>(Loss::kCount)> losses{};
  std::uint64_t recipients = 0;   // RCPT commands that were answered, after an accepted MAIL
  CodeCounts recipient_codes;     // of those that were refused
  std::uint64_t connections = 0;  // opened, with a session greeted
  std::string acknowledged;   // with Options::keep_acknowledged: what each 250 ended with, a line
  std::string first_failure;  // what the first failure to open a session was

  // One writer: a load and a store, no locked add.
  static void bump(std::atomic<std::uint64_t>& value, std::uint64_t by = 1) {
    value.store(value.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  void accept(std::int64_t latency, std::uint64_t bytes);
  void reject(int code, std::string_view text);
  void lose(Loss loss, std::uint64_t messages = 1);
};

}  // namespace mxring::load
