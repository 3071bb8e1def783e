// The writer thread: takes messages from every shard's queue, commits them to the log in groups,
// and gives them back decided. While one group is being made durable the next gathers in the
// queues; that is all there is to group commit.
//
// A failed write or sync answers 451 to its whole group and to everything after it, and tells the
// server to stop: the page cache can no longer be trusted. A group that found no room, no
// descriptor or no memory for the next segment is refused for now, 452 or 451, and the log goes on.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "obs/counters.h"
#include "obs/histogram.h"
#include "seglog/writer.h"
#include "server/delivery.h"
#include "server/disk_room.h"
#include "server/wake.h"

namespace mxring::server {

// The two queues between one shard and the writer.
struct WriterLane {
  WriterLane(std::size_t capacity, int event_fd)
      : to_writer(capacity), from_writer(capacity), shard_wake(event_fd) {}
  MessageQueue to_writer;
  MessageQueue from_writer;
  RingWake shard_wake;
};

class CommitThread {
 public:
  struct Setup {
    seglog::Writer writer;
    std::int64_t commit_window_ns = 0;
    DiskReserve reserve;
    obs::CounterSet* counters = nullptr;
    // Called once, from the writer thread, when the log has failed.
    std::function<void(std::string)> on_failure;
    // For the operator, now and then, while the log lacks something other than room.
    std::function<void(const std::string&)> notice;
    // Called from start() when the disk is below its reserve, and from the writer thread when that
    // has changed; not more often than every few seconds.
    std::function<void(bool low, const DiskRoom& room)> on_room;
    // From the writer thread: what retention took away.
    std::function<void(const seglog::Removal&)> on_removed;
  };

  explicit CommitThread(Setup setup);
  ~CommitThread();

  // Before start().
  void add_lane(WriterLane* lane) { lanes_.push_back(lane); }
  void start(int cpu);  // -1 = not pinned
  // Commits what is queued, seals the log and ends the thread. The shards have ended already.
  void stop();

  // Shards, after pushing.
  void wake() { wake_.wake(); }
  // Whether MAIL must be refused: the disk reserve has been reached (any thread).
  bool storage_low() const { return storage_low_.load(std::memory_order_relaxed); }
  DiskRoom room() const;  // any thread
  // The offset of the next record (any thread).
  std::uint64_t next_offset() const { return next_offset_.load(std::memory_order_relaxed); }
  bool failed() const { return failed_.load(std::memory_order_relaxed); }
  // For a watchdog, any thread: rounds of the loop, which turns once a second when idle; since when
  // (monotonic) a group is being written and made durable, 0 when none is.
  std::uint64_t progress() const { return progress_.load(std::memory_order_relaxed); }
  std::int64_t committing_since_ns() const {
    return committing_since_ns_.load(std::memory_order_relaxed);
  }
  bool ended() const { return ended_.load(std::memory_order_relaxed); }
  // Records that groups have lost because they may hold no more, by group (any thread).
  std::map<std::string, std::uint64_t> dropped() const;
  const obs::Histogram& commit_ns() const { return commit_ns_; }

 private:
  void run(int cpu);
  bool has_work() const;
  void gather();
  void commit_group();
  void refuse_for_now(seglog::CommitError why);
  void say_slow(std::int64_t took_ns, std::int64_t now_ns);
  void give_back(CommitOutcome outcome, std::uint64_t first_offset);
  void watch_storage();
  void say_room();
  void say_retention(bool all);
  void say_held();
  void update_counters();

  Setup setup_;
  std::vector<WriterLane*> lanes_;
  std::thread thread_;
  FutexWake wake_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> storage_low_{false};
  std::atomic<std::uint64_t> free_bytes_{0};
  std::atomic<std::uint64_t> total_bytes_{0};
  std::atomic<std::uint64_t> needed_bytes_{0};
  std::atomic<std::uint64_t> held_bytes_{0};  // 0 unless it is too much
  std::atomic<int> refused_for_{-1};          // a seglog::NoRoom; -1: nothing was refused
  std::atomic<bool> failed_{false};
  std::atomic<std::uint64_t> next_offset_{0};
  std::atomic<std::uint64_t> progress_{0};
  std::atomic<std::int64_t> committing_since_ns_{0};
  std::atomic<bool> ended_{false};
  obs::Histogram commit_ns_;
  mutable std::mutex dropped_mutex_;
  std::map<std::string, std::uint64_t> dropped_;

  // The writer thread's own.
  struct Queued {
    Message* message;
    WriterLane* lane;
  };
  std::vector<Queued> group_;
  std::vector<seglog::Append> appends_;
  std::uint64_t group_bytes_ = 0;
  std::size_t last_group_ = 0;  // messages in the group before; 0 after a sleep
  std::uint64_t wake_calls_ = 0;
  std::int64_t last_watch_ns_ = 0;
  std::int64_t last_notice_ns_ = INT64_MIN / 2;
  std::uint64_t slow_commits_ = 0;  // since the last line about them
  std::int64_t slow_said_ns_ = 0;
  bool said_low_ = false;
  std::int64_t said_at_ns_ = 0;
  bool said_full_ = false;
  std::string said_held_;  // the group that retention was said to wait for
  std::int64_t held_said_ns_ = INT64_MIN / 2;
  std::int64_t removals_said_ns_ = INT64_MIN / 2;
  std::vector<seglog::Removal> removals_;  // not said yet
  std::uint64_t rolled_ = 0;               // segments, when we last looked
};

}  // namespace mxring::server
