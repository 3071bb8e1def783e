// What a relay says of itself: counters for /metrics, and the file <log>/groups/G.state, from which
// `mxring groups describe` knows that the group is retrying, and why.
//
// Thread: one.
#pragma once

#include <mxring/record.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/clock.h"
#include "obs/histogram.h"

namespace mxring::relay {

// Where things stand at one moment.
struct Standing {
  Offset current = 0;  // committed
  Offset position = 0;
  Offset end = 0;
  std::uint32_t window_records = 0;
  std::uint64_t window_bytes = 0;
  std::uint32_t under_way = 0;
  std::uint32_t waiting = 0;
  std::uint64_t dead = 0;
  std::uint64_t dead_bytes = 0;
};

class Status {
 public:
  void delivered(std::uint64_t bytes, std::int64_t took_ns, base::Now now);
  // True when it is worth a line: another reason than before, or a minute later.
  bool failed(const std::string& reply, bool for_good, base::Now now);
  void well() { error_.clear(); }
  void count_reply(const std::string& reply);
  void begun() { ++attempts_; }
  void gap(std::uint64_t records) { gap_records_ += records; }
  void filtered() { ++filtered_; }
  void rewound() { ++rewinds_; }
  void committed() { ++commits_; }
  std::uint64_t failures_unsaid() const { return unsaid_; }

  // Once a second or less often: rate and time left.
  void look(const Standing& standing, base::Now now);
  // A line about catching up, when one is due.
  std::optional<std::string> progress(const Standing& standing, base::Now now);

  std::string state_json(const Standing& standing) const;
  std::string metrics(const std::string& group, const Standing& standing) const;
  const std::string& error() const { return error_; }
  bool retrying() const { return !error_.empty(); }

 private:
  double rate_ = 0;  // records a second, lately
  base::MonoTime looked_at_;
  Offset looked_current_ = 0;
  bool looked_ = false;
  base::MonoTime progress_at_;
  bool behind_ = false;

  std::string error_;  // of the latest attempt that failed; empty after one that did not
  base::WallTime error_since_;
  std::string said_;
  base::MonoTime said_at_;
  std::uint64_t unsaid_ = 0;

  std::uint64_t attempts_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t delivered_bytes_ = 0;
  std::uint64_t later_ = 0;
  std::uint64_t for_good_ = 0;
  std::uint64_t gap_records_ = 0;
  std::uint64_t filtered_ = 0;
  std::uint64_t rewinds_ = 0;
  std::uint64_t commits_ = 0;
  std::map<std::string, std::uint64_t> replies_;  // by code
  obs::Histogram delivery_ns_;
};

}  // namespace mxring::relay
