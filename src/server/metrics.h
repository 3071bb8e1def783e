// What /metrics says beside the counters: of the process, the log's folder and the certificates.
//
// Thread: the admin's. Reads /proc and the log's folder; a folder of many segments is looked at
// every ten seconds at most.
#pragma once

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "server/certificates.h"
#include "server/scrub.h"

namespace mxring::server {

// process_*, as every client library of Prometheus names them.
void append_process_metrics(std::string& out);

// The names of log files say what is in them (seglog/FORMAT.md).
class LogFolder {
 public:
  explicit LogFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  struct Figures {
    std::uint64_t oldest_offset = 0;
    std::uint64_t bytes = 0;  // what the files take on disk
    std::uint64_t segments = 0;
  };
  Figures look(std::int64_t now_ns) const;

 private:
  const std::filesystem::path folder_;
  mutable std::mutex mutex_;
  mutable Figures seen_;
  mutable std::int64_t seen_at_ns_ = INT64_MIN;
};

void append_scrub_metrics(std::string& out, const Scrub::Figures& figures);
void append_certificate_metrics(std::string& out,
                                const std::vector<Certificates::Expiry>& expiries);

}  // namespace mxring::server
