#include "crypto/sha256_batch.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "crypto/sha256_kernel.h"

namespace mxring::crypto {

namespace {

constexpr std::uint32_t kNoRun = 0xFFFF'FFFF;
constexpr std::uint32_t kNoJob = 0xFFFF'FFFF;

// What waits for one flush at most. A run or a job takes 24 or 32 bytes.
constexpr std::size_t kGatheredBlocksMax = 4096;
constexpr std::size_t kRunsMax = 4096;
constexpr std::size_t kJobsMax = 4096;

// A piece of at least this size is hashed where it lies. Shorter ones are copied behind the
// stream's last, which costs less than a run of one or two blocks, for which all lanes stop.
constexpr std::size_t kDirectBytesMin = Sha256Batch::kCopiedBelowBytes;

// A piece in place makes three runs: what was gathered before, itself, and what follows.
constexpr std::size_t kRunsPerPieceMax = 3;
static_assert(kRunsPerPieceMax < kRunsMax && kJobsMax < kNoJob && kRunsMax < kNoRun);

// Pieces are often a line end or a single space, and memcpy of a size that the compiler does not
// know is a call.
inline void copy(std::uint8_t* to, const char* from, std::size_t size) {
  if (size <= 2) {
    std::memcpy(to, from, 1);
    std::memcpy(to + size - 1, from + size - 1, 1);
  } else {
    std::memcpy(to, from, size);
  }
}

}  // namespace

Sha256Stream::~Sha256Stream() {
  if (batch_ != nullptr) batch_->forget(*this);
}

void Sha256Stream::reset() {
  if (batch_ != nullptr) batch_->forget(*this);
  state_ = kSha256Start;
  bytes_ = 0;
  closed_ = false;
  finished_ = false;
}

// The messages that a kernel is advancing. Lanes in use come first.
struct Sha256Batch::Lanes {
  struct Lane {
    Job* job;
    Run run;  // what is left of the current one
  };

  alignas(64) std::array<std::uint32_t, 8 * kSha256LanesMax> states;
  std::array<const std::uint8_t*, kSha256LanesMax> data;
  std::array<Lane, kSha256LanesMax> lanes;
  std::size_t width;
  std::size_t used = 0;

  void load(std::size_t lane, const std::array<std::uint32_t, 8>& state) {
    MXRING_ASSERT(lane < width && width <= kSha256LanesMax);
    for (std::size_t i = 0; i < state.size(); ++i) states[i * width + lane] = state[i];
  }
  void store(std::size_t lane, std::array<std::uint32_t, 8>& state) const {
    MXRING_ASSERT(lane < width);
    for (std::size_t i = 0; i < state.size(); ++i) state[i] = states[i * width + lane];
  }
  void move(std::size_t from, std::size_t to) {
    MXRING_ASSERT(to <= from && from < width);
    for (std::size_t i = 0; i < 8; ++i) states[i * width + to] = states[i * width + from];
    data[to] = data[from];
    lanes[to] = lanes[from];
  }
};

Sha256Batch::Sha256Batch(std::span<const Sha256Path> paths)
    : gathered_(std::make_unique_for_overwrite<Block[]>(kGatheredBlocksMax)),
      gather_start_(gathered_[0].bytes),
      gather_end_(gather_start_),
      gather_limit_(gather_start_ + (kGatheredBlocksMax - 2) * kSha256BlockBytes) {
  runs_.reserve(kRunsMax);
  jobs_.reserve(kJobsMax);
  pending_.reserve(kJobsMax);
  const auto allowed = [&](const Sha256Kernel& kernel) {
    return paths.empty() || std::ranges::find(paths, kernel.path) != paths.end();
  };
  for (std::size_t streams = 0; streams < best_kernels_.size(); ++streams) {
    const Sha256Kernel* best = nullptr;
    const auto cost_per_block = [&](const Sha256Kernel& kernel) {
      const std::size_t used = std::clamp<std::size_t>(streams, 1, kernel.width);
      return static_cast<double>(kernel.step_cost) / static_cast<double>(used);
    };
    for (const Sha256Kernel& kernel : sha256_kernels()) {
      if (!allowed(kernel)) continue;
      if (best == nullptr || cost_per_block(kernel) < cost_per_block(*best)) best = &kernel;
    }
    best_kernels_[streams] = best != nullptr ? best : &sha256_kernels().front();
  }
}

Sha256Batch::~Sha256Batch() {
  stop_gathering();
  for (const Job& job : jobs_) {
    if (job.stream != nullptr) job.stream->batch_ = nullptr;
  }
}

void Sha256Batch::append(Sha256Stream& stream, std::string_view piece) {
  MXRING_ASSERT(!stream.closed_);
  if (piece.empty()) return;
  bytes_appended_ += piece.size();
  if (&stream == gathering_ && piece.size() < kDirectBytesMin &&
      piece.size() <= static_cast<std::size_t>(gather_limit_ - gather_end_)) {
    copy(gather_end_, piece.data(), piece.size());
    gather_end_ += piece.size();
    stream.bytes_ += piece.size();
  } else {
    append_slowly(stream, piece);
  }
}

void Sha256Batch::append_slowly(Sha256Stream& stream, std::string_view piece) {
  start_gathering(stream);
  if (piece.size() >= kDirectBytesMin) {
    const std::size_t held = stream.bytes_ % kSha256BlockBytes;
    const std::size_t missing = (kSha256BlockBytes - held) % kSha256BlockBytes;
    std::memcpy(gather_end_, piece.data(), missing);
    gather_end_ += missing;
    stream.bytes_ += missing;
    piece.remove_prefix(missing);
    stop_gathering();
    const std::size_t blocks = piece.size() / kSha256BlockBytes;
    add_run(stream, reinterpret_cast<const std::uint8_t*>(piece.data()), blocks);
    stream.bytes_ += blocks * kSha256BlockBytes;
    piece.remove_prefix(blocks * kSha256BlockBytes);
    start_gathering(stream);
  }
  MXRING_ASSERT(gathering_ == &stream &&
                piece.size() <=
                    static_cast<std::size_t>(gather_limit_ - gather_end_) + kSha256BlockBytes);
  std::memcpy(gather_end_, piece.data(), piece.size());
  gather_end_ += piece.size();
  stream.bytes_ += piece.size();
}

void Sha256Batch::fork(const Sha256Stream& stream, Sha256Stream& copy) {
  MXRING_ASSERT(!stream.closed_ && &stream != &copy);
  if (stream.batch_ != nullptr) {
    MXRING_ASSERT(stream.batch_ == this);
    flush();
  }
  MXRING_ASSERT(stream.batch_ == nullptr);
  copy.reset();
  copy.state_ = stream.state_;
  copy.block_ = stream.block_;
  copy.bytes_ = stream.bytes_;
}

void Sha256Batch::finish(Sha256Stream& stream) {
  MXRING_ASSERT(!stream.closed_);
  start_gathering(stream);
  const std::size_t held = stream.bytes_ % kSha256BlockBytes;
  std::uint8_t* const last = gather_end_ - held;
  MXRING_ASSERT(gathering_ == &stream && last >= gather_start_);
  gather_end_ = last + sha256_pad(last, held, stream.bytes_) * kSha256BlockBytes;
  stop_gathering();
  stream.closed_ = true;
}

void Sha256Batch::forget(Sha256Stream& stream) {
  stream.closed_ = true;
  if (stream.batch_ == nullptr) return;
  MXRING_ASSERT(stream.batch_ == this);
  stream.batch_ = nullptr;
  if (gathering_ == &stream) {
    gathering_ = nullptr;
    gather_end_ = gather_start_;
  }
  if (stream.job_ != kNoJob) {
    MXRING_ASSERT(stream.job_ < jobs_.size() && jobs_[stream.job_].stream == &stream &&
                  waiting_jobs_ > 0);
    jobs_[stream.job_].stream = nullptr;
    --waiting_jobs_;
  }
}

// Makes `stream` the one whose bytes are gathered, with room for a short piece and the padding.
void Sha256Batch::start_gathering(Sha256Stream& stream) {
  if (gathering_ != &stream) stop_gathering();
  make_room();
  if (gathering_ == &stream) return;
  if (stream.batch_ == nullptr) {
    stream.batch_ = this;
    stream.job_ = kNoJob;
  }
  MXRING_ASSERT(stream.batch_ == this);
  gathering_ = &stream;
  std::memcpy(gather_start_, stream.block_.data(), kSha256BlockBytes);
  gather_end_ = gather_start_ + stream.bytes_ % kSha256BlockBytes;
}

void Sha256Batch::stop_gathering() {
  if (gathering_ == nullptr) return;
  Sha256Stream& stream = *gathering_;
  gathering_ = nullptr;
  MXRING_ASSERT(gather_start_ <= gather_end_ && stream.batch_ == this);
  const auto size = static_cast<std::size_t>(gather_end_ - gather_start_);
  const std::size_t blocks = size / kSha256BlockBytes;
  std::memcpy(stream.block_.data(), gather_start_ + blocks * kSha256BlockBytes,
              size % kSha256BlockBytes);
  if (blocks > 0) add_run(stream, gather_start_, blocks);
  gather_start_ += blocks * kSha256BlockBytes;
  gather_end_ = gather_start_;
  if (stream.job_ == kNoJob) stream.batch_ = nullptr;
}

void Sha256Batch::make_room() {
  if (static_cast<std::size_t>(gather_limit_ - gather_end_) < kDirectBytesMin ||
      runs_.size() + kRunsPerPieceMax > kRunsMax || jobs_.size() == kJobsMax) {
    flush();
  }
}

void Sha256Batch::add_run(Sha256Stream& stream, const std::uint8_t* data, std::size_t blocks) {
  const auto run = static_cast<std::uint32_t>(runs_.size());
  if (stream.batch_ == nullptr) {
    stream.batch_ = this;
    stream.job_ = kNoJob;
  }
  if (stream.job_ == kNoJob) {
    stream.job_ = static_cast<std::uint32_t>(jobs_.size());
    jobs_.push_back({&stream, blocks, run, run});
    ++waiting_jobs_;
    runs_.push_back({data, blocks, kNoRun});
    return;
  }
  Job& job = jobs_[stream.job_];
  MXRING_ASSERT(job.stream == &stream && job.last_run < runs_.size());
  job.blocks += blocks;
  Run& last = runs_[job.last_run];
  if (last.data + last.blocks * kSha256BlockBytes == data) {
    last.blocks += blocks;
    return;
  }
  last.next = run;
  job.last_run = run;
  runs_.push_back({data, blocks, kNoRun});
}

void Sha256Batch::flush() {
  stop_gathering();
  for (Job& job : jobs_) {
    if (job.stream != nullptr) pending_.push_back(&job);
  }
  // The longest are started first: what runs on when there is nothing left to fill the lanes with
  // is then as short as can be.
  while (!pending_.empty()) {
    if (pending_.size() > 1) std::ranges::sort(pending_, {}, &Job::blocks);
    advance_with(best_kernel(pending_.size()));
  }
  MXRING_ASSERT(gathering_ == nullptr && pending_.empty());
  jobs_.clear();
  runs_.clear();
  gather_start_ = gathered_[0].bytes;
  gather_end_ = gather_start_;
  waiting_jobs_ = 0;
}

const Sha256Kernel& Sha256Batch::best_kernel(std::size_t streams) const {
  MXRING_ASSERT(best_kernels_.front() != nullptr && best_kernels_.back() != nullptr);
  return *best_kernels_[std::min(streams, best_kernels_.size() - 1)];
}

// Until the pending jobs are done, or so few are left that another kernel is quicker.
void Sha256Batch::advance_with(const Sha256Kernel& kernel) {
  Lanes lanes;
  lanes.width = kernel.width;
  while (lanes.used < lanes.width && start_next_job(lanes, lanes.used)) ++lanes.used;
  while (lanes.used == lanes.width || (lanes.used > 0 && &best_kernel(lanes.used) == &kernel)) {
    std::size_t steps = lanes.lanes[0].run.blocks;
    for (std::size_t i = 1; i < lanes.used; ++i) steps = std::min(steps, lanes.lanes[i].run.blocks);
    // An unused lane follows the first one; what it computes is dropped.
    for (std::size_t i = lanes.used; i < lanes.width; ++i) lanes.data[i] = lanes.data[0];
    kernel.advance(lanes.states.data(), lanes.data.data(), steps);

    for (std::size_t i = 0; i < lanes.used;) {
      Run& run = lanes.lanes[i].run;
      run.blocks -= steps;
      lanes.data[i] += steps * kSha256BlockBytes;
      lanes.lanes[i].job->blocks -= steps;
      if (run.blocks == 0) {
        if (run.next != kNoRun) {
          run = runs_[run.next];
          lanes.data[i] = run.data;
        } else {
          end_job(lanes, i);
          if (!start_next_job(lanes, i)) {
            // The last lane, not yet counted down, takes this place and is next.
            lanes.move(--lanes.used, i);
            continue;
          }
        }
      }
      ++i;
    }
  }
  for (std::size_t i = 0; i < lanes.used; ++i) suspend_job(lanes, i);
}

bool Sha256Batch::start_next_job(Lanes& lanes, std::size_t lane) {
  if (pending_.empty()) return false;
  Job* const job = pending_.back();
  pending_.pop_back();
  MXRING_ASSERT(job->stream != nullptr && job->blocks > 0);
  lanes.load(lane, job->stream->state_);
  lanes.lanes[lane] = {job, runs_[job->first_run]};
  lanes.data[lane] = lanes.lanes[lane].run.data;
  return true;
}

void Sha256Batch::end_job(Lanes& lanes, std::size_t lane) {
  Sha256Stream& stream = *lanes.lanes[lane].job->stream;
  MXRING_ASSERT(stream.batch_ == this && lanes.lanes[lane].job->blocks == 0);
  lanes.store(lane, stream.state_);
  stream.batch_ = nullptr;
  if (stream.closed_) {
    stream.digest_ = sha256_digest(stream.state_);
    stream.finished_ = true;
  }
}

void Sha256Batch::suspend_job(Lanes& lanes, std::size_t lane) {
  const Lanes::Lane& suspended = lanes.lanes[lane];
  Job& job = *suspended.job;
  MXRING_ASSERT(suspended.run.blocks > 0 && suspended.run.blocks <= job.blocks);
  lanes.store(lane, job.stream->state_);
  runs_[job.first_run] = {lanes.data[lane], suspended.run.blocks, suspended.run.next};
  pending_.push_back(&job);
}

}  // namespace mxring::crypto
