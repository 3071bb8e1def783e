#include "server/commit_thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "base/assert.h"
#include "base/probe.h"
#include "base/units.h"
#include "server/ledger.h"
#include "server/retention_words.h"

namespace mxring::server {

namespace {

// One group: bounded so that the first message of it does not wait for an unbounded write.
constexpr std::size_t kGroupMessagesMax = 1024;
constexpr std::uint64_t kGroupBytesMax = 16ULL << 20;
// A group after one of at least this many messages may wait for the commit window. A lone message
// never waits: there would be nobody to share the cost of the commit with.
constexpr std::size_t kBusyGroup = 4;
static_assert(kBusyGroup < kGroupMessagesMax);
constexpr std::int64_t kIdleNs = base::kNsPerSecond;
constexpr std::int64_t kNoticeEveryNs = 60 * base::kNsPerSecond;
// Every client of a group waits for it.
constexpr std::int64_t kSlowCommitNs = base::kNsPerSecond;
constexpr std::chrono::milliseconds kLateWakeup{40};  // in the simulator
// A disk that hovers around its reserve is not worth a line every second.
constexpr std::int64_t kSayNs = 5 * base::kNsPerSecond;

}  // namespace

CommitThread::CommitThread(Setup setup) : setup_(std::move(setup)) {
  next_offset_.store(setup_.writer.next_offset(), std::memory_order_relaxed);
  group_.reserve(kGroupMessagesMax);
  appends_.reserve(kGroupMessagesMax);
}

CommitThread::~CommitThread() {
  stop();
}

void CommitThread::start(int cpu) {
  watch_storage();
  MXRING_ASSERT(!thread_.joinable());
  thread_ = std::thread([this, cpu] { run(cpu); });
}

void CommitThread::stop() {
  if (!thread_.joinable()) return;
  stopping_.store(true, std::memory_order_seq_cst);
  wake_.wake();
  thread_.join();
}

bool CommitThread::has_work() const {
  return std::ranges::any_of(lanes_,
                             [](const WriterLane* lane) { return !lane->to_writer.empty(); });
}

void CommitThread::run(int cpu) {
  pthread_setname_np(pthread_self(), "mxring-writer");
  if (cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
  }
  for (;;) {
    progress_.fetch_add(1, std::memory_order_relaxed);
    gather();
    if (!group_.empty()) {
      last_group_ = group_.size();
      commit_group();
    } else {
      last_group_ = 0;
      const std::int64_t due_ns = setup_.writer.wake_readers(base::read_clocks().mono.ns);
      const bool stopping = stopping_.load(std::memory_order_seq_cst);
      if (stopping && !has_work()) break;
      if (!stopping) {
        update_counters();
        wake_.sleep_unless(
            [this] { return has_work() || stopping_.load(std::memory_order_seq_cst); },
            due_ns > 0 ? due_ns : kIdleNs);
      }
    }
    const base::Now now = base::read_clocks();
    setup_.writer.wake_readers(now.mono.ns);
    if (now.mono.ns - last_watch_ns_ >= kIdleNs) {
      last_watch_ns_ = now.mono.ns;
      if (!failed()) setup_.writer.maintain(now, storage_low());
      watch_storage();
      say_retention(false);
      update_counters();
    }
  }
  setup_.writer.close();
  say_retention(true);
  if (!failed() && setup_.writer.poisoned() && setup_.notice) {
    setup_.notice(
        fmt::format("warning: {}; everything acknowledged is durable, and the next start "
                    "looks at the whole segment",
                    setup_.writer.failure()));
  }
  update_counters();
  ended_.store(true, std::memory_order_relaxed);
}

void CommitThread::gather() {
  const std::size_t messages_max = MXRING_BUGGIFY("a commit of one", 300) ? 1 : kGroupMessagesMax;
  const auto drain = [this, messages_max] {
    // One message from each shard in turn, so that no shard's flood delays another's.
    bool found = true;
    while (found && group_.size() < messages_max && group_bytes_ < kGroupBytesMax) {
      found = false;
      for (WriterLane* lane : lanes_) {
        Message* message = nullptr;
        if (group_.size() >= messages_max || !lane->to_writer.pop(message)) continue;
        found = true;
        group_bytes_ += message->bytes() + message->metadata.size();
        MXRING_ASSERT(message->outcome == CommitOutcome::kPending &&
                      group_.size() < kGroupMessagesMax);
        group_.push_back({message, lane});
      }
    }
  };
  drain();
  const bool busy = last_group_ >= kBusyGroup;
  if (busy && setup_.commit_window_ns > 0 && !group_.empty() && group_.size() < kGroupMessagesMax &&
      group_bytes_ < kGroupBytesMax) {
    const timespec window{setup_.commit_window_ns / base::kNsPerSecond,
                          setup_.commit_window_ns % base::kNsPerSecond};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &window, nullptr);
    drain();
  }
}

void CommitThread::commit_group() {
  MXRING_ASSERT(!group_.empty() && group_.size() <= kGroupMessagesMax);
  if (failed()) {
    MXRING_PROBE("writer: a group after the log has failed");
    give_back(CommitOutcome::kFailed, 0);
    return;
  }
  appends_.clear();
  for (const Queued& queued : group_) {
    const Message& message = *queued.message;
    appends_.push_back({.message = message.slices(),
                        .message_bytes = message.bytes(),
                        .message_crc32c = message.crc32c(),
                        .metadata = message.metadata,
                        .received_at_us = message.received_at.us});
  }
  MXRING_ASSERT(appends_.size() == group_.size());
  const base::MonoTime before = base::read_clocks().mono;
  committing_since_ns_.store(before.ns, std::memory_order_relaxed);
  const auto first_offset = setup_.writer.commit(appends_);
  committing_since_ns_.store(0, std::memory_order_relaxed);
  const base::MonoTime after = base::read_clocks().mono;
  commit_ns_.record(static_cast<std::uint64_t>(after - before));
  if (after - before >= kSlowCommitNs) say_slow(after - before, after.ns);
  if (first_offset) {
    MXRING_ASSERT(*first_offset >= next_offset_.load(std::memory_order_relaxed));
    setup_.counters->add(obs::Counter::kCommits);
    setup_.counters->add(obs::Counter::kCommittedRecords, group_.size());
    MXRING_ASSERT(*first_offset + group_.size() == setup_.writer.next_offset());
    next_offset_.store(*first_offset + group_.size(), std::memory_order_relaxed);
    give_back(CommitOutcome::kDurable, *first_offset);
    // A segment may have come out of the disk reserve: not a second later, but now.
    if (const auto rolled = setup_.writer.totals().segments_rolled; rolled != rolled_) {
      MXRING_PROBE("writer: a segment was begun");
      rolled_ = rolled;
      watch_storage();
    }
    return;
  }
  setup_.counters->add(obs::Counter::kCommitFailures);
  if (first_offset.error() != seglog::CommitError::kFailed) {
    refuse_for_now(first_offset.error());
    return;
  }
  MXRING_PROBE("writer: the log has failed");
  MXRING_ASSERT(setup_.writer.poisoned());
  failed_.store(true, std::memory_order_relaxed);
  give_back(CommitOutcome::kFailed, 0);
  setup_.on_failure(std::string(setup_.writer.failure()));
}

void CommitThread::say_slow(std::int64_t took_ns, std::int64_t now_ns) {
  ++slow_commits_;
  if (!setup_.notice || (slow_said_ns_ != 0 && now_ns - slow_said_ns_ < kNoticeEveryNs)) return;
  setup_.notice(
      fmt::format("warning: a commit took {}{}: the disk of the log is slow, and clients "
                  "wait for it; look for its other users, and at its health",
                  base::format_duration(took_ns),
                  slow_commits_ == 1 ? std::string()
                                     : fmt::format(", one of {} above a second", slow_commits_)));
  slow_said_ns_ = now_ns;
  slow_commits_ = 0;
}

// Nothing of the group was written, and nothing is wrong with the log.
void CommitThread::refuse_for_now(seglog::CommitError why) {
  if (why == seglog::CommitError::kNoSpace) {
    MXRING_PROBE("writer: refused for now, no room");
    refused_for_.store(static_cast<int>(setup_.writer.no_room()), std::memory_order_relaxed);
    storage_low_.store(true, std::memory_order_relaxed);
    say_room();
    give_back(CommitOutcome::kNoSpace, 0);
    return;
  }
  MXRING_PROBE("writer: refused for now, no descriptors or memory");
  const std::int64_t now_ns = base::read_clocks().mono.ns;
  if (setup_.notice && now_ns - last_notice_ns_ >= kNoticeEveryNs) {
    last_notice_ns_ = now_ns;
    setup_.notice(fmt::format("warning: {}; messages are refused for now, clients will try again",
                              setup_.writer.refusal()));
  }
  give_back(CommitOutcome::kNoResources, 0);
}

void CommitThread::give_back(CommitOutcome outcome, std::uint64_t first_offset) {
  MXRING_ASSERT(outcome == CommitOutcome::kDurable || first_offset == 0);
  std::uint64_t offset = first_offset;
  MXRING_ASSERT(outcome != CommitOutcome::kPending);
  for (const Queued& queued : group_) {
    MXRING_ASSERT(queued.message->outcome == CommitOutcome::kPending);  // answered once
    queued.message->outcome = outcome;
    queued.message->offset = offset++;
    // Holds as many messages as the queue to us: there is always room.
    Message* message = queued.message;
    const bool pushed = queued.lane->from_writer.push(std::move(message));
    MXRING_ASSERT(pushed);
  }
  if (MXRING_BUGGIFY("a late wake-up", 100)) std::this_thread::sleep_for(kLateWakeup);
  for (WriterLane* lane : lanes_) {
    if (!lane->from_writer.empty() && lane->shard_wake.wake()) ++wake_calls_;
  }
  group_.clear();
  group_bytes_ = 0;
}

void CommitThread::watch_storage() {
  free_bytes_.store(setup_.writer.free_bytes(), std::memory_order_relaxed);
  total_bytes_.store(setup_.writer.file_system_bytes(), std::memory_order_relaxed);
  needed_bytes_.store(setup_.writer.needed_soon_bytes(), std::memory_order_relaxed);
  refused_for_.store(-1, std::memory_order_relaxed);
  const seglog::Held& held = setup_.writer.held();
  held_bytes_.store(held.full ? held.bytes : 0, std::memory_order_relaxed);
  storage_low_.store(setup_.reserve.low(room()), std::memory_order_relaxed);
  say_held();  // who it is for, before mail is put off for it
  say_room();
}

void CommitThread::say_room() {
  const bool low = storage_low();
  const std::int64_t now_ns = base::read_clocks().mono.ns;
  if (low == said_low_ || (said_at_ns_ != 0 && now_ns - said_at_ns_ < kSayNs)) return;
  said_low_ = low;
  said_at_ns_ = now_ns;
  if (setup_.on_room) setup_.on_room(low, room());
}

DiskRoom CommitThread::room() const {
  DiskRoom room{.free_bytes = free_bytes_.load(std::memory_order_relaxed),
                .total_bytes = total_bytes_.load(std::memory_order_relaxed),
                .needed_bytes = needed_bytes_.load(std::memory_order_relaxed),
                .refused = std::nullopt,
                .held_bytes = held_bytes_.load(std::memory_order_relaxed)};
  const int refused = refused_for_.load(std::memory_order_relaxed);
  if (refused >= 0) room.refused = static_cast<seglog::NoRoom>(refused);
  return room;
}

// At once, and then what has gathered in a minute: a log at its bound loses a segment as often as
// one is filled.
void CommitThread::say_retention(bool all) {
  for (seglog::Removal& removal : setup_.writer.take_removals()) {
    const bool joins = !removals_.empty() && removals_.back().why == removal.why;
    if (!joins) {
      removals_.push_back(removal);
      continue;
    }
    MXRING_ASSERT(removal.segments > 0 && removals_.back().segments > 0);
    removals_.back().segments += removal.segments;
    removals_.back().bytes += removal.bytes;
    removals_.back().next_offset = removal.next_offset;
  }
  if (setup_.notice) {
    if (const auto moved = setup_.writer.take_clock_moved_us()) setup_.notice(clock_moved(*moved));
    if (const std::string why = setup_.writer.take_trouble(); !why.empty()) {
      setup_.notice("warning: " + why);
    }
  }
  say_held();
  {
    const std::lock_guard lock(dropped_mutex_);
    dropped_ = setup_.writer.dropped();
  }
  const std::int64_t now_ns = base::read_clocks().mono.ns;
  if (removals_.empty() || (!all && now_ns - removals_said_ns_ < kNoticeEveryNs)) return;
  removals_said_ns_ = now_ns;
  for (const seglog::Removal& removal : removals_) {
    if (setup_.on_removed) setup_.on_removed(removal);
  }
  removals_.clear();
}

// For whom retention waits: when that changes or is too much, and now and then while it lasts.
void CommitThread::say_held() {
  constexpr std::int64_t kHeldEveryNs = 3600 * base::kNsPerSecond;
  const seglog::Held& held = setup_.writer.held();
  const std::int64_t now_ns = base::read_clocks().mono.ns;
  const bool full = held.full && !said_full_;
  said_full_ = held.full;
  const bool news = full || held.group != said_held_ || now_ns - held_said_ns_ >= kHeldEveryNs;
  if (!setup_.notice || !news || (held.group.empty() && !held.unknown)) return;
  said_held_ = held.group;
  held_said_ns_ = now_ns;
  setup_.notice(kept_for(held));
}

std::map<std::string, std::uint64_t> CommitThread::dropped() const {
  const std::lock_guard lock(dropped_mutex_);
  return dropped_;
}

void CommitThread::update_counters() {
  const seglog::Writer::Totals totals = setup_.writer.totals();
  setup_.counters->set(obs::Counter::kLogBytes, totals.bytes_written);
  setup_.counters->set(obs::Counter::kStageCommitNs, thread_cpu_ns() + totals.preparation_cpu_ns);
  setup_.counters->set(obs::Counter::kSystemCalls, totals.system_calls + wake_calls_);
}

}  // namespace mxring::server
