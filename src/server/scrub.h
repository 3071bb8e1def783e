// Verifies the whole log again and again while the server runs, a bounded number of bytes a second
// (log.scrub_rate), so that damage is found while a backup of the good bytes still exists. What it
// finds is said once each and counted; nothing is changed.
//
// Threads: its own; figures() any. A log smaller than ten seconds of the rate is looked at every
// ten seconds.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "base/clock.h"

namespace mxring::server {

class Scrub {
 public:
  struct Setup {
    std::string log;
    std::uint64_t bytes_per_second = 0;  // 0 = never
    std::function<void(const std::string&)> notice;
    std::int64_t pause_ns = 10 * base::kNsPerSecond;  // between the beginnings of two looks
  };
  struct Figures {
    bool on = false;
    double age_seconds = 0;  // since the last whole look began; of the first one, since the start
    std::uint64_t passes = 0;
    std::uint64_t bytes = 0;
    std::uint64_t damaged_places = 0;  // as the last whole look found them
    std::uint64_t damaged_records = 0;
  };

  explicit Scrub(Setup setup) : setup_(std::move(setup)) {}
  Scrub(const Scrub&) = delete;
  Scrub& operator=(const Scrub&) = delete;
  ~Scrub();

  void start();
  Figures figures() const;

 private:
  void run();
  void pass();
  bool wait_ns(std::int64_t ns);  // false: it is to end
  bool pace(std::uint64_t bytes);

  const Setup setup_;
  base::MonoTime began_ = base::read_clocks().mono;
  std::int64_t pass_began_ns_ = 0;
  std::uint64_t pass_bytes_ = 0;
  std::set<std::string> said_;  // places
  mutable std::mutex mutex_;
  std::condition_variable ends_;
  bool ending_ = false;
  Figures figures_;
  std::int64_t verified_from_ns_ = 0;  // when the last whole look began
  std::thread thread_;
};

}  // namespace mxring::server
