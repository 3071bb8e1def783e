#include "obs/stage_clock.h"

#include <algorithm>
#include <ctime>

#include "base/assert.h"

namespace mxring::obs {

namespace {

std::int64_t read_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * std::int64_t{1'000'000'000} + now.tv_nsec;
}

static_assert(static_cast<int>(Counter::kStageReplyNs) -
                      static_cast<int>(Counter::kStageReceiveNs) ==
                  static_cast<int>(Stage::kReply),
              "the counters follow the stages");

}  // namespace

std::int64_t StageClock::thread_cpu_ns() {
  return read_ns(CLOCK_THREAD_CPUTIME_ID);
}
std::int64_t StageClock::monotonic_ns() {
  return read_ns(CLOCK_MONOTONIC);
}

bool StageClock::begin_turn() {
  MXRING_ASSERT(!measuring_);  // end_turn() comes first
  stage_ = Stage::kReceive;
  measuring_ = --turns_left_ == 0;
  if (measuring_) {
    random_ ^= random_ << 13;  // xorshift32
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    turns_left_ = 1 + random_ % (2 * kEvery - 1);
    spent_ns_.fill(0);
    kernel_ns_ = user_ns_ = longest_ns_ = 0;
    cpu_begin_ns_ = thread_cpu_ns();
    since_ns_ = monotonic_ns();
  }
  return measuring_;
}

void StageClock::end_turn() {
  if (!measuring_) return;
  book();
  take_interruption_out();
  for (std::size_t stage = 0; stage < spent_ns_.size(); ++stage) {
    const auto counter =
        static_cast<Counter>(static_cast<std::size_t>(Counter::kStageReceiveNs) + stage);
    counters_.add(counter, static_cast<std::uint64_t>(spent_ns_[stage]) * kEvery);
  }
  counters_.add(Counter::kTurnsMeasured);
  measuring_ = false;
}

void StageClock::take_interruption_out() {
  const std::int64_t user_cpu_ns = thread_cpu_ns() - cpu_begin_ns_ - kernel_ns_;
  const std::int64_t away_ns = std::clamp<std::int64_t>(user_ns_ - user_cpu_ns, 0, longest_ns_);
  spent_ns_[static_cast<std::size_t>(longest_)] -= away_ns;
}

void StageClock::book() {
  const std::int64_t now_ns = monotonic_ns();
  const std::int64_t ns = now_ns - since_ns_;
  MXRING_ASSERT(measuring_ && ns >= 0);
  spent_ns_[static_cast<std::size_t>(stage_)] += ns;
  user_ns_ += ns;
  if (ns > longest_ns_) {
    longest_ns_ = ns;
    longest_ = stage_;
  }
  since_ns_ = now_ns;
}

void StageClock::restart(Stage stage) {
  stage_ = stage;
  since_ns_ = monotonic_ns();
}

}  // namespace mxring::obs
