#include "server/live.h"

#include <fmt/format.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/assert.h"
#include "base/units.h"
#include "server/ledger.h"

namespace mxring::server {

namespace {

using obs::Counter;
using obs::Histogram;

constexpr std::array<std::string_view, 18> kSeries{
    "messages",    "bytes",       "refused_4xx", "refused_5xx", "quarantined", "connections",
    "latency_p50", "latency_p99", "sync_p50",    "sync_p99",    "spf_pass",    "dkim_pass",
    "dmarc_pass",  "dmarc_fail",  "lag_records", "lag_seconds", "disk_free",   "cpu"};

// What a person sees at a glance; the exact figures are percentiles.
static_assert(kSeries.size() == 18, "Live::point() fills them in this order");
constexpr std::array kBounds{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                             0.05,   0.1,     0.25,   0.5,   1.0,    2.5,   5.0,  10.0};

std::vector<std::uint32_t> buckets_of(const std::vector<const Histogram*>& all) {
  std::vector<std::uint32_t> out(Histogram::kBuckets, 0);
  for (const Histogram* histogram : all) {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] += static_cast<std::uint32_t>(histogram->in_bucket(i));
    }
  }
  return out;
}

// What was recorded between two looks; the counts may have wrapped, their difference has not.
class Recorded {
 public:
  Recorded(const std::vector<std::uint32_t>& from, const std::vector<std::uint32_t>& to)
      : counts_(to.size(), 0) {
    for (std::size_t i = 0; i < to.size(); ++i) {
      counts_[i] = to[i] - (i < from.size() ? from[i] : 0);
      total_ += counts_[i];
    }
  }
  std::uint64_t total() const { return total_; }
  double seconds(double quantile) const {
    if (total_ == 0) return 0;
    const double wanted = std::max(1.0, std::ceil(quantile * static_cast<double>(total_)));
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      seen += counts_[i];
      if (static_cast<double>(seen) >= wanted) {
        return static_cast<double>(Histogram::bucket_upper(i)) * 1e-9;
      }
    }
    return 0;
  }
  void write(base::JsonWriter& json) const {
    json.begin_object().key("count").value(total_);
    const auto quantile = [&](std::string_view name, double at) {
      json.key(name);
      total_ == 0 ? json.null() : json.value(seconds(at));
    };
    quantile("p50", 0.5);
    quantile("p90", 0.9);
    quantile("p99", 0.99);
    quantile("max", 1);
    json.key("buckets").begin_array();
    std::size_t at = 0;
    for (const double bound : kBounds) {
      std::uint64_t in = 0;
      const auto bound_ns = static_cast<std::uint64_t>(bound * 1e9);
      while (at < counts_.size() && Histogram::bucket_upper(at) <= bound_ns) in += counts_[at++];
      json.begin_object().key("le").value(bound).key("count").value(in).end_object();
    }
    std::uint64_t in = 0;
    while (at < counts_.size()) in += counts_[at++];
    json.begin_object().key("le").null().key("count").value(in).end_object();
    json.end_array().end_object();
  }

 private:
  std::vector<std::uint32_t> counts_;
  std::uint64_t total_ = 0;
};

}  // namespace

// Two samples and what lies between them.
class Live::Between {
 public:
  Between(const Sample& from, const Sample& to)
      : from_(from),
        to_(to),
        seconds_(std::max(static_cast<double>(to.at - from.at) * 1e-9, 0.001)),
        decided_(from.decided, to.decided),
        sync_(from.sync, to.sync) {}

  double seconds() const { return seconds_; }
  const Sample& to() const { return to_; }
  const Recorded& decided() const { return decided_; }
  const Recorded& sync() const { return sync_; }
  double rate(Counter counter) const { return per_second(from_.sum(counter), to_.sum(counter)); }
  double rate(std::size_t thread, Counter counter) const {
    const auto at = static_cast<std::size_t>(counter);
    const std::uint64_t before =
        thread < from_.threads.size() ? from_.threads[thread].counters[at] : 0;
    MXRING_ASSERT(thread < to_.threads.size());
    return per_second(before, to_.threads[thread].counters[at]);
  }
  double refusals(std::size_t value) const {
    MXRING_ASSERT(value < to_.refusals.size());
    return per_second(from_.refusals[value], to_.refusals[value]);
  }
  double cores() const { return per_second(from_.process_cpu_ns, to_.process_cpu_ns) * 1e-9; }

 private:
  double per_second(std::uint64_t before, std::uint64_t now) const {
    return now > before ? static_cast<double>(now - before) / seconds_ : 0;
  }
  const Sample& from_;
  const Sample& to_;
  double seconds_;
  Recorded decided_;
  Recorded sync_;
};

std::uint64_t Live::Sample::sum(Counter counter) const {
  std::uint64_t all = 0;
  for (const Thread& thread : threads) all += thread.counters[static_cast<std::size_t>(counter)];
  return all;
}

Live::Live(Setup setup) : setup_(std::move(setup)), group_watch_(setup_.log, setup_.notice) {
  take_sample();
  point_begin_ = samples_.back();
}

Live::~Live() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  ends_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Live::start() {
  MXRING_ASSERT(!thread_.joinable());
  thread_ = std::thread([this] { run(); });
}

void Live::run() {
  pthread_setname_np(pthread_self(), "mxring-live");
  std::unique_lock lock(mutex_);
  while (!ends_.wait_for(lock, std::chrono::seconds(1), [this] { return ending_; })) {
    lock.unlock();
    take_sample();
    watch_groups();
    lock.lock();
  }
}

void Live::watch_groups() {
  if (!setup_.notice) return;
  const std::int64_t now_ns = base::read_clocks().mono.ns;
  if (groups_watched_ns_ != 0 && now_ns - groups_watched_ns_ < kGroupsNs) return;
  groups_watched_ns_ = now_ns;
  group_watch_.look(groups());
}

Live::Sample Live::look() const {
  Sample sample;
  const base::Now now = base::read_clocks();
  sample.at = now.mono;
  sample.wall_us = now.wall.us;
  sample.process_cpu_ns = process_cpu_ns();
  setup_.counters.for_each([&](const std::string& name, const obs::CounterSet& set) {
    Thread& thread = sample.threads.emplace_back();
    thread.name = name;
    for (std::size_t i = 0; i < thread.counters.size(); ++i) {
      thread.counters[i] = set.get(static_cast<Counter>(i));
    }
    for (std::size_t i = 0; i < sample.refusals.size(); ++i) sample.refusals[i] += set.of_family(i);
  });
  sample.decided = buckets_of(setup_.decided_ns);
  sample.sync = buckets_of({&setup_.sync_ns});
  return sample;
}

void Live::take_sample() {
  Sample sample = look();
  MXRING_ASSERT(samples_.empty() || sample.at >= samples_.back().at);
  std::optional<Point> made;
  if (!points_.empty() || !samples_.empty()) {
    if (sample.at - point_begin_.at >= kPointNs) made = point(point_begin_, sample);
  }
  const std::lock_guard lock(mutex_);
  if (made) {
    point_begin_ = sample;
    MXRING_ASSERT(made->values.size() == kSeries.size());
    points_.push_back(*std::move(made));
    if (points_.size() > kPoints) points_.pop_front();
    MXRING_ASSERT(points_.size() <= kPoints);
  }
  samples_.push_back(std::move(sample));
  if (samples_.size() > kSamples) samples_.pop_front();
  MXRING_ASSERT(!samples_.empty() && samples_.size() <= kSamples);
}

Live::Point Live::point(const Sample& from, const Sample& to) const {
  const Between between(from, to);
  const Gauges gauges = setup_.gauges();
  std::uint64_t lag = 0;
  double lag_seconds = 0;
  for (const GroupFacts& group : groups()) {
    lag = std::max(lag, group.lag);
    lag_seconds = std::max(lag_seconds, group.lag_seconds);
  }
  return {
      to.wall_us,
      {between.rate(Counter::kMessagesAccepted), between.rate(Counter::kMessageBytes),
       between.rate(Counter::kReplies4xx), between.rate(Counter::kReplies5xx),
       between.rate(Counter::kMessagesQuarantined), static_cast<double>(gauges.connections),
       between.decided().seconds(0.5), between.decided().seconds(0.99), between.sync().seconds(0.5),
       between.sync().seconds(0.99), between.rate(Counter::kSpfPass),
       between.rate(Counter::kDkimPass), between.rate(Counter::kDmarcPass),
       between.rate(Counter::kDmarcFail), static_cast<double>(lag), lag_seconds,
       static_cast<double>(gauges.disk_free_bytes), between.cores()}};
}

std::vector<GroupFacts> Live::groups() const {
  const std::lock_guard lock(groups_mutex_);
  const std::int64_t begin_ns = base::read_clocks().mono.ns;
  if (groups_at_ns_ != 0 && begin_ns - groups_at_ns_ < 100 * groups_cost_ns_) return groups_;
  groups_ = look_at_groups(setup_.log);
  groups_at_ns_ = base::read_clocks().mono.ns;
  groups_cost_ns_ = groups_at_ns_ - begin_ns;
  return groups_;
}

void Live::write_shards(base::JsonWriter& json, const Between& between) const {
  json.key("shards").begin_array();
  const std::vector<Thread>& threads = between.to().threads;
  for (std::size_t i = 0; i < threads.size(); ++i) {
    if (!threads[i].name.starts_with("shard-")) continue;
    std::uint64_t connections = 0;
    for (auto at = static_cast<std::size_t>(Counter::kActivityHandshake);
         at <= static_cast<std::size_t>(Counter::kActivityClosing); ++at) {
      connections += threads[i].counters[at];
    }
    json.begin_object().key("shard").value(threads[i].name);
    json.key("messages").value(between.rate(i, Counter::kMessagesAccepted));
    json.key("bytes").value(between.rate(i, Counter::kBytesReceived));
    json.key("connections").value(connections);
    json.key("turns").value(between.rate(i, Counter::kLoopTurns));
    json.key("cpu").value(between.rate(i, Counter::kLoopCpuNs) * 1e-9);
    json.end_object();
  }
  json.end_array();
}

void Live::write_groups(base::JsonWriter& json) const {
  json.key("groups").begin_array();
  for (const GroupFacts& group : groups()) {
    json.begin_object().key("group").value(group.group).key("state").value(group.state);
    json.key("current").value(group.current);
    json.key("lag").value(group.lag).key("lag_bytes").value(group.lag_bytes);
    json.key("lag_seconds").value(group.lag_seconds).key("dead").value(group.dead);
    json.key("holds").value(group.holds).key("error");
    group.error.empty() ? json.null() : json.value(group.error);
    json.end_object();
  }
  json.end_array();
}

namespace {

// A labelled family of counters as an object of its label's values.
template <class Value>
void write_family(base::JsonWriter& json, std::string_view key, Counter first, Counter last,
                  const Value& value) {
  json.key(key).begin_object();
  for (auto at = static_cast<std::size_t>(first); at <= static_cast<std::size_t>(last); ++at) {
    const auto counter = static_cast<Counter>(at);
    json.key(obs::info(counter).value);
    value(counter);
  }
  json.end_object();
}

struct Named {
  std::string_view key;
  Counter counter;
};
constexpr std::array kRates{
    Named{"messages", Counter::kMessagesAccepted},
    Named{"refused", Counter::kMessagesRefused},
    Named{"quarantined", Counter::kMessagesQuarantined},
    Named{"bytes_received", Counter::kBytesReceived},
    Named{"connections", Counter::kConnectionsAccepted},
    Named{"connections_refused", Counter::kConnectionsRefused},
    Named{"commands", Counter::kCommands},
    Named{"replies_4xx", Counter::kReplies4xx},
    Named{"replies_5xx", Counter::kReplies5xx},
    Named{"commits", Counter::kCommits},
    Named{"tls_handshakes", Counter::kTlsHandshakes},
    Named{"tls_failures", Counter::kTlsFailures},
    Named{"timeouts", Counter::kTimeouts},
};
constexpr std::array kDns{
    Named{"questions", Counter::kDnsQuestions},
    Named{"timeouts", Counter::kDnsTimeouts},
    Named{"failures", Counter::kDnsFailures},
    Named{"not_asked", Counter::kDnsRefused},
    Named{"shared", Counter::kDnsShared},
    Named{"cache_hits", Counter::kDnsCacheHits},
    Named{"cache_misses", Counter::kDnsCacheMisses},
};
constexpr std::array kStages{
    Named{"receive", Counter::kStageReceiveNs},   Named{"parse", Counter::kStageParseNs},
    Named{"evaluate", Counter::kStageEvaluateNs}, Named{"hash", Counter::kStageHashNs},
    Named{"commit", Counter::kStageCommitNs},     Named{"reply", Counter::kStageReplyNs},
};

}  // namespace

std::string Live::document() const {
  Sample to = look();
  Sample from;
  {
    const std::lock_guard lock(mutex_);
    MXRING_ASSERT(!samples_.empty());
    from = samples_.front();
  }
  const Between between(from, to);
  const auto rate = [&](base::JsonWriter& json) {
    return [&](Counter counter) { json.value(between.rate(counter)); };
  };
  base::JsonWriter json;
  json.begin_object();
  json.key("time").value(base::format_wall_time(to.wall_us));
  json.key("window_seconds").value(between.seconds());
  setup_.members(json);
  write_family(json, "activities", Counter::kActivityHandshake, Counter::kActivityClosing,
               [&](Counter counter) { json.value(to.sum(counter)); });
  json.key("per_second").begin_object();
  for (const auto& [key, counter] : kRates) json.key(key).value(between.rate(counter));
  json.end_object();
  json.key("totals").begin_object();
  for (const auto& [key, counter] : kRates) json.key(key).value(to.sum(counter));
  json.end_object();
  write_shards(json, between);
  json.key("cpu").begin_object().key("process").value(between.cores());
  json.key("stages").begin_object();
  for (const auto& [key, counter] : kStages) json.key(key).value(between.rate(counter) * 1e-9);
  json.end_object().end_object();
  json.key("latency");
  between.decided().write(json);
  json.key("sync");
  between.sync().write(json);
  json.key("dns").begin_object();
  for (const auto& [key, counter] : kDns) json.key(key).value(between.rate(counter));
  json.key("cache_bytes").value(to.sum(Counter::kDnsCacheBytes)).end_object();
  json.key("verdicts").begin_object();
  write_family(json, "spf", Counter::kSpfNone, Counter::kSpfPermerror, rate(json));
  write_family(json, "dkim", Counter::kDkimNone, Counter::kDkimPermerror, rate(json));
  write_family(json, "dmarc", Counter::kDmarcNone, Counter::kDmarcPermerror, rate(json));
  json.end_object();
  json.key("refusals").begin_array();
  const obs::Family& family = setup_.counters.family();
  for (std::size_t i = 0; i < family.values.size(); ++i) {
    if (to.refusals[i] == 0) continue;
    json.begin_object().key("reply").value(family.values[i]);
    json.key("per_second").value(between.refusals(i));
    json.key("total").value(to.refusals[i]).end_object();
  }
  json.end_array();
  write_groups(json);
  json.end_object();
  return std::move(json).text();
}

std::string Live::history() const {
  base::JsonWriter json;
  const std::lock_guard lock(mutex_);
  json.begin_object().key("step_seconds").value(static_cast<double>(kPointNs) * 1e-9);
  json.key("times").begin_array();
  for (const Point& point : points_) json.value(base::format_wall_time(point.wall_us));
  json.end_array().key("series").begin_object();
  for (std::size_t i = 0; i < kSeries.size(); ++i) {
    json.key(kSeries[i]).begin_array();
    for (const Point& point : points_) json.value(point.values[i]);
    json.end_array();
  }
  json.end_object().end_object();
  return std::move(json).text();
}

}  // namespace mxring::server
