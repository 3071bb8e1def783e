// What the server is doing: the figures of the last seconds, and points of the last hour for
// charts. Both are one JSON object each (src/cli/JSON.md, `top`), for `mxring top`, the page and
// whoever else asks.
//
// A thread takes a sample of all counters each second; memory is bounded by kSamples and kPoints.
// Threads: its own; document(), history() and groups() any.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "obs/counters.h"
#include "obs/histogram.h"
#include "server/group_facts.h"
#include "server/group_watch.h"

namespace mxring::server {

class Live {
 public:
  static constexpr std::size_t kSamples = 6;  // five seconds
  static constexpr std::int64_t kPointNs = 10 * base::kNsPerSecond;
  static constexpr std::size_t kPoints = 360;  // an hour
  static constexpr std::int64_t kGroupsNs = 10 * base::kNsPerSecond;

  struct Gauges {
    std::uint64_t connections = 0;
    std::uint64_t disk_free_bytes = 0;
    std::uint64_t memory_in_flight_bytes = 0;
  };
  struct Setup {
    const obs::CounterRegistry& counters;
    const obs::Histogram& sync_ns;
    std::vector<const obs::Histogram*> decided_ns;  // from end of data, one a shard
    std::string log;
    std::function<Gauges()> gauges;
    std::function<void(base::JsonWriter&)> members;  // of the document, beside ours
    std::function<void(const std::string&)> notice;  // of groups that need somebody
  };

  explicit Live(Setup setup);
  Live(const Live&) = delete;
  Live& operator=(const Live&) = delete;
  ~Live();

  void start();
  std::string document() const;
  std::string history() const;
  // Looked at again when a look would take less than a hundredth of the time since the last one.
  std::vector<GroupFacts> groups() const;

 private:
  // Buckets as they were; differences of two are what happened between.
  using Buckets = std::vector<std::uint32_t>;
  struct Thread {
    std::string name;
    std::array<std::uint64_t, static_cast<std::size_t>(obs::Counter::kCount)> counters{};
  };
  struct Sample {
    base::MonoTime at;
    std::int64_t wall_us = 0;
    std::uint64_t process_cpu_ns = 0;
    std::vector<Thread> threads;
    std::array<std::uint64_t, obs::kFamilyValuesMax> refusals{};
    Buckets decided;
    Buckets sync;

    std::uint64_t sum(obs::Counter counter) const;
  };
  struct Point {
    std::int64_t wall_us = 0;
    std::vector<double> values;  // in the order of the series
  };
  class Between;

  void run();
  Sample look() const;
  void take_sample();
  void watch_groups();
  Point point(const Sample& from, const Sample& to) const;
  void write_shards(base::JsonWriter& json, const Between& between) const;
  void write_groups(base::JsonWriter& json) const;

  const Setup setup_;
  mutable std::mutex mutex_;
  std::condition_variable ends_;
  bool ending_ = false;
  std::deque<Sample> samples_;
  Sample point_begin_;
  std::deque<Point> points_;
  mutable std::mutex groups_mutex_;
  mutable std::vector<GroupFacts> groups_;
  mutable std::int64_t groups_at_ns_ = 0;
  mutable std::int64_t groups_cost_ns_ = 0;
  GroupWatch group_watch_;  // the thread's
  std::int64_t groups_watched_ns_ = 0;
  std::thread thread_;
};

}  // namespace mxring::server
