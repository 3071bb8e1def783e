// The seam for tracing and fault injection. Ring operations are invisible to strace and LD_PRELOAD,
// so every ring operation and every log-file operation asks its FaultPlan, when one is set, what
// should happen to the n-th operation of its kind. Production code passes nullptr: one branch.
//
// Thread: a plan may be shared by several threads (counters are atomic); rules are set before use.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::uring {

class Engine;

// Kinds of operation that can be named in a rule.
enum class FaultPoint : std::uint8_t {
  kAccept,
  kReceive,
  kSend,
  kConnect,
  kRead,  // of an eventfd or pipe
  kWrite,
  kPoll,
  kClose,
  kCancel,        // also of a poll
  kFileWrite,     // pwritev to a log file
  kFileSync,      // fdatasync / fsync of a log file or directory
  kFileAllocate,  // fallocate / zeroing of a new segment
  kFileOpen,
  kCount
};

struct FaultRule {
  FaultPoint point = FaultPoint::kFileWrite;
  std::uint64_t nth = 0;        // counted from 0 over all operations of that kind
  bool every_from_nth = false;  // from the n-th on, not only the n-th
  // What happens instead of, or to, the operation:
  int error = 0;                     // != 0: fail with this errno (ECANCELED = cancelled), untried
  std::uint64_t shorten_to = ~0ULL;  // transfer at most this many bytes
  std::int64_t delay_ns = 0;         // sleep first, then do it (file operations only)
};

class FaultPlan {
 public:
  void add(FaultRule rule) { rules_.push_back(rule); }

  // Counts one operation of this kind and returns the rule for it, if any.
  std::optional<FaultRule> next(FaultPoint point);
  std::uint64_t count(FaultPoint point) const;

  // Tracing: when set, one line per operation ("file_write 4096 at 8192 -> 4096") is kept.
  void set_trace(bool on) { tracing_.store(on, std::memory_order_relaxed); }
  bool tracing() const { return tracing_.load(std::memory_order_relaxed); }
  void record(std::string line);
  std::vector<std::string> trace() const;

  // When set, rings are made on what it gives: a simulated kernel (uring/engine.h).
  std::function<std::unique_ptr<Engine>()> make_engine;

 private:
  std::vector<FaultRule> rules_;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(FaultPoint::kCount)> counts_{};
  std::atomic<bool> tracing_{false};
  mutable std::mutex trace_mutex_;
  std::vector<std::string> trace_;
};

std::string_view name(FaultPoint point);

}  // namespace mxring::uring
