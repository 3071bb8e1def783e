// Where a shard's CPU time goes, by stage. One loop turn in kEvery is measured and counts for all
// of them, so the clock costs next to nothing and the sum still comes out. Which one is random:
// turns follow each other in patterns, such as a large one after each commit.
//
// In a measured turn user code is timed with the monotonic clock (a read is about 25 ns) and calls
// into the kernel with the thread's CPU clock, so that waiting does not count. A thread may be
// interrupted in user code, and the monotonic clock goes on: what the turn's user code took by that
// clock beyond the CPU time it had is taken away from the longest stretch, where it must have been.
//
// Thread: one, the owner of the counter set.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "obs/counters.h"

namespace mxring::obs {

enum class Stage : std::uint8_t {
  kReceive,   // the kernel's work for what came in; collecting completions, accepting, timers
  kParse,     // the SMTP dialogue, content into messages
  kEvaluate,  // SPF, DKIM, DMARC, DNS, signatures
  kHash,      // DKIM's hashes
  kCommit,    // describing messages, handing them over and taking them back; the writer's work
  kReply,     // writing replies and the kernel's work to send them
  kCount
};

class StageClock {
 public:
  static constexpr std::uint32_t kEvery = 64;

  explicit StageClock(CounterSet& counters) : counters_(counters) {}

  // At the start of a turn. True when this one is measured.
  bool begin_turn();
  void end_turn();
  bool measuring() const { return measuring_; }

  // The time until the next call belongs to `stage`; returns the stage before.
  Stage enter(Stage stage) {
    const Stage before = stage_;
    if (measuring_) book();
    stage_ = stage;
    return before;
  }

  // Around a call into the kernel, whose CPU time is charged to `stage`.
  template <class Call>
  auto in_kernel(Stage stage, Call&& call) {
    if (!measuring_) return call();
    const Stage before = enter(stage);
    const std::int64_t cpu_ns = thread_cpu_ns();
    auto result = call();
    const std::int64_t used_ns = thread_cpu_ns() - cpu_ns;
    spent_ns_[static_cast<std::size_t>(stage)] += used_ns;
    kernel_ns_ += used_ns;
    restart(before);
    return result;
  }

 private:
  static std::int64_t thread_cpu_ns();
  static std::int64_t monotonic_ns();
  void book();
  void restart(Stage stage);
  void take_interruption_out();

  CounterSet& counters_;
  std::int64_t since_ns_ = 0;
  // Of the measured turn.
  std::array<std::int64_t, static_cast<std::size_t>(Stage::kCount)> spent_ns_{};
  std::int64_t cpu_begin_ns_ = 0;
  std::int64_t kernel_ns_ = 0;   // CPU time
  std::int64_t user_ns_ = 0;     // by the monotonic clock
  std::int64_t longest_ns_ = 0;  // stretch of user code
  Stage longest_ = Stage::kReceive;
  std::uint32_t turns_left_ = 1;  // until a measured one
  std::uint32_t random_ = 0x2545F491;
  Stage stage_ = Stage::kReceive;
  bool measuring_ = false;
};

// The time until the end of the scope belongs to `stage`.
class InStage {
 public:
  InStage(StageClock& clock, Stage stage) : clock_(clock), before_(clock.enter(stage)) {}
  InStage(const InStage&) = delete;
  InStage& operator=(const InStage&) = delete;
  ~InStage() { clock_.enter(before_); }

 private:
  StageClock& clock_;
  Stage before_;
};

}  // namespace mxring::obs
