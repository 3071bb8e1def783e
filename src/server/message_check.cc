#include "server/message_check.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "base/probe.h"

namespace mxring::server {

namespace {

constexpr std::size_t kHeaderScratchKept = 16 * 1024;
// What the evaluators keep on the heap: an estimate, to be on the safe side, not a measurement.
constexpr std::size_t kEvaluationBytes = 24 * 1024;

}  // namespace

MessageCheck::MessageCheck(const Setup& setup)
    : dns_(setup.dns),
      spf_outcomes_(setup.spf_outcomes),
      owner_(setup.owner),
      time_ns_(setup.limits.dns_time_ns),
      evaluation_(setup.options, setup.limits, setup.hashes) {}

void MessageCheck::begin(const mailauth::spf::Request& request, CheckSubject& subject,
                         base::Now now, bool claimed) {
  MXRING_ASSERT(stage_ == Stage::kIdle);
  subject_ = &subject;
  account_ = dns_.account(request.client, claimed);
  deadline_ = now.mono + time_ns_;
  stage_ = Stage::kReceiving;
  header_taken_ = behind_ = false;
  taken_bytes_ = 0;
  missing_.fill(0);
  MXRING_ASSERT(signatures_.empty() && !answers_missing());
  evaluation_.begin(request);
  evaluation_.repeat_spf(spf_outcomes_, now.mono);
  advance(mailauth::Part::kSpf, now.mono);
}

void MessageCheck::stop() {
  if (answers_missing()) MXRING_PROBE("check: dropped with questions under way");
  for (const auto& ask : asks_) ask->cancel();
  const bool hashing = stage_ == Stage::kReceiving || stage_ == Stage::kComplete;
  if (hashing || stage_ == Stage::kVerifying) evaluation_.abandon();
  stage_ = Stage::kIdle;
  subject_ = nullptr;
  behind_ = false;
  signatures_.clear();
  signatures_given_ = 0;
  if (header_scratch_.capacity() > kHeaderScratchKept) std::string().swap(header_scratch_);
}

void MessageCheck::give_up() {
  if (!answers_missing()) return;
  for (const auto& ask : asks_) ask->cancel();
  missing_.fill(0);
  MXRING_ASSERT(stage_ != Stage::kIdle && stage_ != Stage::kDecided);
  evaluation_.give_up();
  if (stage_ == Stage::kConcluded) {
    MXRING_PROBE("check: decided without the policy");
    stage_ = Stage::kDecided;
  }
  owner_.check_answered(*this);
}

bool MessageCheck::answers_missing() const {
  return std::ranges::any_of(missing_, [](std::uint32_t n) { return n > 0; });
}

MessageCheck::Ask& MessageCheck::idle_ask() {
  const auto idle = std::ranges::find_if(asks_, [](const auto& ask) { return !ask->waiting(); });
  if (idle != asks_.end()) return **idle;
  return *asks_.emplace_back(std::make_unique<Ask>(*this));
}

// Steps until something has to be waited for. What the cache knows is supplied on the spot.
void MessageCheck::advance(mailauth::Part part, base::MonoTime now) {
  while (!evaluation_.step(part)) {
    missing(part) = 0;
    for (const dns::Question& question : evaluation_.questions(part)) {
      Ask& ask = idle_ask();
      ask.part = part;
      dns::AnswerPtr answer = dns_.ask(
          question, ask, now, {.account = account_, .policy = part == mailauth::Part::kDmarc});
      if (answer != nullptr) {
        evaluation_.supply(part, question, std::move(answer), true);
      } else {
        ++missing(part);
      }
    }
    if (missing(part) > 0) return;
  }
}

void MessageCheck::on_answer(Ask& ask, const dns::Question& question,
                             const dns::AnswerPtr& answer) {
  const mailauth::Part part = ask.part;
  evaluation_.supply(part, question, answer);
  MXRING_ASSERT(stage_ != Stage::kIdle && missing(part) > 0);
  if (--missing(part) > 0) return;
  // Deadlines go by the loop's time; for the cache's TTL the moment of the answer is near enough.
  advance(part, base::read_clocks().mono);
  if (stage_ == Stage::kConcluded && evaluation_.done()) stage_ = Stage::kDecided;
  if (missing(part) == 0) owner_.check_answered(*this);
}

std::uint64_t MessageCheck::take(Message& message, bool complete, std::uint64_t max_bytes,
                                 base::Now now) {
  if (stage_ != Stage::kReceiving) return 0;
  if (!header_taken_) {
    if (message.header().status() != mail::HeaderStatus::kComplete) return 0;
    take_header(message, now);
  }
  MXRING_ASSERT(taken_bytes_ <= message.bytes());
  const std::uint64_t begin = taken_bytes_;
  taken_bytes_ = message.bytes();
  if (evaluation_.wants_body()) {
    taken_bytes_ = std::min(taken_bytes_, begin + max_bytes);
    runs_.clear();
    message.runs_of(begin, taken_bytes_, runs_);
    for (const std::string_view run : runs_) evaluation_.body(run);
  }
  MXRING_ASSERT(begin <= taken_bytes_ && taken_bytes_ <= message.bytes());
  behind_ = taken_bytes_ < message.bytes();
  if (complete && !behind_) {
    evaluation_.end_of_body();
    stage_ = Stage::kComplete;
    deadline_ = now.mono + time_ns_;
  }
  return taken_bytes_ - begin;
}

void MessageCheck::take_header(Message& message, base::Now now) {
  const mail::HeaderIndex& header = message.header();
  header_taken_ = true;
  MXRING_ASSERT(!behind_ && header.body_begin() <= message.bytes());
  taken_bytes_ = header.body_begin();
  deadline_ = now.mono + time_ns_;
  const std::string_view section = message.bytes_between(0, header.header_bytes(), header_scratch_);
  evaluation_.header(section, header.fields(), now.wall.us / 1'000'000);
  advance(mailauth::Part::kDkim, now.mono);
  advance(mailauth::Part::kArc, now.mono);
  advance(mailauth::Part::kDmarc, now.mono);
}

bool MessageCheck::collect() {
  if (stage_ == Stage::kVerifying) return true;
  if (stage_ != Stage::kComplete || answers_missing()) return false;
  MXRING_ASSERT(!behind_ && signatures_.empty());
  evaluation_.collect(signatures_);
  stage_ = Stage::kVerifying;
  return true;
}

crypto::RsaCheck* MessageCheck::next_signature() {
  MXRING_ASSERT(stage_ == Stage::kVerifying && signatures_left());
  MXRING_ASSERT(signatures_[signatures_given_] != nullptr);
  return signatures_[signatures_given_++];
}

std::size_t MessageCheck::memory_bytes() const {
  return sizeof *this + kEvaluationBytes + header_scratch_.capacity() + asks_.size() * sizeof(Ask) +
         runs_.capacity() * sizeof(std::string_view);
}

void MessageCheck::conclude(base::MonoTime now) {
  MXRING_ASSERT(stage_ == Stage::kVerifying && !signatures_left());
  evaluation_.conclude();
  evaluation_.remember_spf(spf_outcomes_, now);
  stage_ = Stage::kConcluded;
  advance(mailauth::Part::kDmarc, now);
  if (evaluation_.done()) stage_ = Stage::kDecided;
}

}  // namespace mxring::server
