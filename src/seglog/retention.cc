#include "seglog/retention.h"

#include "base/assert.h"

namespace mxring::seglog {

namespace {

std::int64_t apart_us(base::Now now) {
  return now.wall.us - now.mono.ns / 1000;
}

}  // namespace

void Retention::begin(base::Now now, std::int64_t newest_us) {
  MXRING_ASSERT(!begun_);
  begun_ = true;
  seen_ = now;
  anchor_us_ = apart_us(now);
  anchored_ = now.mono;
  const std::int64_t since_us = now.wall.us - newest_us;
  if (newest_us != 0 && (since_us < -kMovedUs || since_us > kDownUs)) distrust(now.mono);
  invariants();
}

void Retention::look(base::Now now) {
  if (!begun_) begin(now, 0);
  // Taken before our latest look, by another thread or a test: not a clock that went back.
  if (now.mono < seen_.mono) return;
  seen_ = now;
  const std::int64_t moved_us = apart_us(now) - anchor_us_;
  if (moved_us >= kMovedUs || moved_us <= -kMovedUs) {
    moved_us_ = moved_us;
    anchor_us_ += moved_us;
    anchored_ = now.mono;
    distrust(now.mono);
  } else if (now.mono - anchored_ >= kDistrustNs) {
    // A clock that is slewed moves a few seconds an hour. That is no jump, and adds up to none.
    anchor_us_ += moved_us;
    anchored_ = now.mono;
  }
  if (trust_ == Trust::kNone && now.mono >= trusted_again_) trust_ = Trust::kProbation;
  invariants();
}

void Retention::distrust(base::MonoTime now) {
  trust_ = Trust::kNone;
  trusted_again_ = now + kDistrustNs;
  allowed_ = 0;
}

void Retention::note_filled() {
  if (trust_ == Trust::kProbation) allowed_ = kPerFilled;
}

bool Retention::overdue(std::int64_t newest_us) const {
  return by_age() && newest_us < seen_.wall.us - options_.age_ns / 1000;
}

std::optional<RemovedFor> Retention::due(const Oldest& oldest) const {
  if (options_.bytes != 0 && oldest.all_bytes > options_.bytes) return RemovedFor::kBytes;
  if (!begun_ || !overdue(oldest.newest_us)) return std::nullopt;
  const bool may = trust_ == Trust::kFull || (trust_ == Trust::kProbation && allowed_ > 0);
  return may ? std::optional(RemovedFor::kAge) : std::nullopt;
}

void Retention::note_removed(RemovedFor why) {
  MXRING_ASSERT(why != RemovedFor::kAge || trust_ != Trust::kNone);
  if (why == RemovedFor::kAge && trust_ == Trust::kProbation) --allowed_;
  invariants();
}

void Retention::note_none_overdue() {
  if (trust_ == Trust::kProbation) trust_ = Trust::kFull;
}

std::optional<std::int64_t> Retention::take_moved_us() {
  const auto moved = moved_us_;
  moved_us_.reset();
  return by_age() ? moved : std::nullopt;
}

void Retention::invariants() const {
  MXRING_ASSERT(allowed_ >= 0 && allowed_ <= kPerFilled);
  MXRING_ASSERT(trust_ == Trust::kProbation || allowed_ == 0);
  MXRING_ASSERT(trust_ != Trust::kNone || seen_.mono < trusted_again_);
  MXRING_ASSERT(seen_.mono >= anchored_);
}

}  // namespace mxring::seglog
