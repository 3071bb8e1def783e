// Appends records to a segmented log directory and makes them durable, batch by batch.
//
// commit() returns only when every record of the batch is on stable storage and readers may see it,
// or when none of them may be acknowledged. There is no third outcome:
//   - kNoSpace, kNoResources: the next segment could not be made, for lack of disk space, or of
//                descriptors or memory. Nothing of the batch was written; the log is intact and may
//                be tried again.
//   - kFailed:   a write or sync failed. The segment is poisoned: nothing more is ever appended to
//                it, every later commit() fails, and recovery discards what was not durable. The
//                process must stop: the page cache can no longer be trusted.
//
// Thread: one, and it may block for as long as the disk does (plus one internal thread that
// prepares the next segment).
#pragma once

#include <mxring/record.h>
#include <sys/uio.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "seglog/kept_segments.h"
#include "seglog/no_room.h"
#include "uring/fault.h"

namespace mxring::seglog {

enum class Sync : std::uint8_t { kCommit, kNone };  // kNone: for benchmarks; promises nothing

struct WriterOptions {
  std::filesystem::path directory;  // created if its parent exists
  std::uint64_t segment_bytes = 256ULL << 20;
  std::uint64_t record_bytes_max = 32ULL << 20;  // a segment always holds at least one such record
  Sync sync = Sync::kCommit;
  std::uint64_t retain_bytes = 0;  // 0 = keep all
  std::int64_t retain_age_ns = 0;  // 0 = keep all
  std::uint64_t hold_bytes = 0;    // what groups may keep beyond that; 0 = until the disk reserve
  bool drop_when_hold_full = false;
  // No segment is made ahead of its need where less than the larger of both would stay free.
  std::uint64_t reserve_bytes = 0;
  std::uint32_t reserve_percent = 0;
  uring::FaultPlan* faults = nullptr;
};

enum class OpenErrorKind : std::uint8_t {
  kDirectory,   // cannot be created or opened
  kLocked,      // another process writes here
  kFileSystem,  // cannot keep the promise (tmpfs, overlay, network) and sync is not "none"
  kDamaged,     // cannot be recovered without losing durable records; nothing was changed
  kIo,
};

struct OpenError {
  OpenErrorKind kind = OpenErrorKind::kIo;
  std::string message;  // one line: what is wrong and the way out
};

// What recovery found and did; printed by the server at start.
struct RecoveryReport {
  std::uint64_t records = 0;              // readable records in the segments that were scanned
  std::uint64_t torn_bytes = 0;           // cut from the tail
  std::uint64_t damaged_records = 0;      // kept in place, skipped by readers
  std::uint64_t unreadable_segments = 0;  // kept in place; not the one that was set aside
  std::string set_aside;                  // its new name; empty: none
  bool was_poisoned = false;
  std::string text;  // one line for a person; empty when there is nothing to say
};

// One record to append. All memory belongs to the caller and must stay unchanged until commit()
// returns.
struct Append {
  std::span<const iovec> message;    // the message as received, in pieces
  std::uint64_t message_bytes = 0;   // their sum
  std::uint32_t message_crc32c = 0;  // CRC32C of the message bytes (base/crc32c.h)
  std::span<const char> metadata;    // encoded by seglog/metadata.h
  std::int64_t received_at_us = 0;
};

enum class CommitError : std::uint8_t { kNoSpace, kNoResources, kFailed };

class Writer {
 public:
  // Locks the directory, recovers, prepares a segment to write to. `progress` (may be empty) is
  // called now and then during recovery with a fraction 0 to 1.
  static std::expected<Writer, OpenError> open(const WriterOptions& options,
                                               std::function<void(double)> progress = {});
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;
  ~Writer();  // close()

  // Offsets are consecutive: record i of the batch has offset result + i.
  std::expected<std::uint64_t, CommitError> commit(std::span<const Append> batch);

  // Retention, freeing of disk space. Call about once a second from the thread that commits; when a
  // segment rolls commit() does it too, by the clocks of the latest call.
  // `disk_low`: the disk is below its reserve.
  void maintain(base::Now now, bool disk_low = false);
  // What groups keep that retention would have taken, as of the latest maintain() or roll.
  const Held& held() const;
  const std::map<std::string, std::uint64_t>& dropped() const;  // records, by group
  // Call after commits and before waiting: wakes readers that wait for them, at most every 2 ms.
  // How many nanoseconds later to call again, or 0. `now_ns`: of the monotonic clock.
  std::int64_t wake_readers(std::int64_t now_ns);
  // What retention took away since this was last asked, and what it could not (one line, or empty).
  std::vector<Removal> take_removals();
  std::string take_trouble();
  // The wall clock moved by this much, and nothing goes by age for an hour. Said once.
  std::optional<std::int64_t> take_clock_moved_us();

  // Clean end: seals the segment so that the next start need not scan it. Idempotent.
  void close();

  const RecoveryReport& recovery() const;
  const LogId& log_id() const;
  std::uint64_t next_offset() const;
  bool poisoned() const;
  std::string_view failure() const;  // why it is poisoned, one line
  std::string_view refusal() const;  // why the last commit answered kNoSpace or kNoResources
  // Bytes that may still be written to this file system, for the disk reserve.
  std::uint64_t free_bytes() const;
  std::uint64_t file_system_bytes() const;
  // What the next segment will take from them soon: nothing while there is one ready, or plenty of
  // room in the one in use.
  std::uint64_t needed_soon_bytes() const;
  NoRoom no_room() const;  // what kNoSpace was for lack of

  // Since open: for counters.
  struct Totals {
    std::uint64_t bytes_written = 0;
    std::uint64_t system_calls = 0;
    std::uint64_t segments_rolled = 0;
    std::uint64_t preparation_cpu_ns = 0;  // of the thread that prepares segments
  };
  Totals totals() const;

 private:
  struct Impl;
  explicit Writer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mxring::seglog
