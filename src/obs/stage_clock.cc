#include "obs/stage_clock.h"

#include <ctime>

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
  stage_ = Stage::kReceive;
  measuring_ = --turns_left_ == 0;
  if (measuring_) {
    random_ ^= random_ << 13;  // xorshift32
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    turns_left_ = 1 + random_ % (2 * kEvery - 1);
    since_ns_ = monotonic_ns();
  }
  return measuring_;
}

void StageClock::end_turn() {
  if (measuring_) book();
  measuring_ = false;
}

void StageClock::charge(Stage stage, std::int64_t ns) {
  const auto counter =
      static_cast<Counter>(static_cast<int>(Counter::kStageReceiveNs) + static_cast<int>(stage));
  if (ns > 0) counters_.add(counter, static_cast<std::uint64_t>(ns) * kEvery);
}

void StageClock::book() {
  const std::int64_t now_ns = monotonic_ns();
  charge(stage_, now_ns - since_ns_);
  since_ns_ = now_ns;
}

void StageClock::restart(Stage stage) {
  stage_ = stage;
  since_ns_ = monotonic_ns();
}

}  // namespace mxring::obs
