#include "server/check_batch.h"

#include <algorithm>

#include "base/assert.h"
#include "base/probe.h"

namespace mxring::server {

namespace {

// What is kept for later transactions; a crowd's worth goes back to the allocator.
constexpr std::size_t kIdleKept = 256;

// An operation takes the square of the key's size, and more; never 0.
std::size_t units_of(const crypto::RsaCheck& check) {
  const std::size_t kilobits = std::max<std::size_t>(check.key->bits() / 1024, 1);
  return kilobits * kilobits;
}

}  // namespace

CheckBatch::CheckBatch(const Setup& setup) : setup_(setup) {}

CheckBatch::~CheckBatch() {
  MXRING_ASSERT(live_ == 0);
}

ClientName& CheckBatch::begin_name(const base::IpAddress& address, base::MonoTime now,
                                   bool claimed) {
  if (idle_names_.empty()) idle_names_.push_back(std::make_unique<ClientName>(setup_.dns));
  ClientName& name = *idle_names_.back().release();
  idle_names_.pop_back();
  name.begin(address, now, claimed);
  return name;
}

void CheckBatch::drop_name(ClientName& name) {
  std::unique_ptr<ClientName> dropped(&name);
  name.stop();
  if (idle_names_.size() < kIdleKept) idle_names_.push_back(std::move(dropped));
}

MessageCheck& CheckBatch::begin(CheckSubject& subject, const mailauth::spf::Request& request,
                                base::Now now, bool claimed) {
  const obs::InStage stage(setup_.stages, obs::Stage::kEvaluate);
  if (idle_.empty()) {
    idle_.push_back(
        std::make_unique<MessageCheck>(MessageCheck::Setup{.limits = setup_.limits,
                                                           .options = setup_.options,
                                                           .hashes = hashes_,
                                                           .spf_outcomes = spf_outcomes_,
                                                           .dns = setup_.dns,
                                                           .owner = *this}));
  }
  MessageCheck& check = *idle_.back().release();
  idle_.pop_back();
  ++live_;
  running_.push_back(check);
  check.begin(request, subject, now, claimed);
  return check;
}

void CheckBatch::drop(MessageCheck& check) {
  std::unique_ptr<MessageCheck> dropped(&check);
  check.stop();
  if (check.running_hook.linked()) running_.remove(check);
  if (check.touched_hook.linked()) touched_.remove(check);
  MXRING_ASSERT(live_ > 0);
  --live_;
  if (idle_.size() < kIdleKept) idle_.push_back(std::move(dropped));
}

void CheckBatch::touch(MessageCheck& check) {
  if (!check.touched_hook.linked()) touched_.push_back(check);
}

void CheckBatch::run(base::Now now) {
  if (touched_.empty()) return;
  const obs::InStage stage(setup_.stages, obs::Stage::kEvaluate);
  Budget budget;
  budget.end_ns = base::read_clocks().mono.ns + kTurnNs;
  if (MXRING_BUGGIFY("little work in a turn", 300)) budget.units = budget.hash_bytes = 1;
  for (std::size_t n = 0; n < kTurnRounds && !touched_.empty() && budget.left(); ++n) {
    if (!round(budget, now)) return;
  }
}

// What the turn has brought to all that are touched: their bytes are hashed together, then the
// signatures of those that are complete are verified together. False: nothing has moved.
bool CheckBatch::round(Budget& budget, base::Now now) {
  const std::uint64_t hash_bytes_before = budget.hash_bytes;
  std::size_t moved = 0;
  take_touched(budget, now);
  {
    const obs::InStage hashing(setup_.stages, obs::Stage::kHash);
    hashes_.flush();
  }
  verified_.clear();
  signatures_.clear();
  for (MessageCheck* check : taken_) {
    if (check->decided()) {
      ++moved;
      check->subject().on_verdict();
    } else if (check->behind() || budget.units == 0) {
      MXRING_PROBE("check: its turn comes later");
      touch(*check);
    } else if (!check->collect()) {
      ++moved;  // it waits for answers, or for more of its message
    } else {
      // At least one operation each, so that the largest key fits the smallest rest.
      while (budget.units > 0 && check->signatures_left()) {
        crypto::RsaCheck* signature = check->next_signature();
        budget.units -= std::min(budget.units, units_of(*signature));
        signatures_.push_back(signature);
      }
      verified_.push_back(check);
    }
  }
  if (!signatures_.empty()) rsa_.verify(signatures_);
  for (MessageCheck* check : verified_) {
    if (check->signatures_left()) {
      MXRING_PROBE("check: signatures are left for the next turn");
      touch(*check);
      continue;
    }
    check->conclude(now.mono);
    if (check->decided()) check->subject().on_verdict();
  }
  look_at_clock(budget);
  return moved > 0 || !signatures_.empty() || !verified_.empty() ||
         budget.hash_bytes < hash_bytes_before;
}

void CheckBatch::take_touched(Budget& budget, base::Now now) {
  const std::uint64_t share_bytes =
      std::max(kTurnShareBytesMin, budget.hash_bytes / touched_.size());
  taken_.clear();
  while (budget.hash_bytes > 0 && !budget.spent && !touched_.empty()) {
    MessageCheck& check = *touched_.front();
    touched_.remove(check);
    taken_.push_back(&check);
    Message* message = check.subject().message_to_check();
    if (message == nullptr) {
      MXRING_ASSERT(!check.behind());  // a check whose message is gone has gone too
      continue;                        // SPF has its answers before DATA
    }
    const base::MonoTime deadline = check.deadline();
    const std::uint64_t before = hashes_.bytes_appended();
    const std::uint64_t taken =
        check.take(*message, check.subject().message_complete(), share_bytes, now);
    const std::uint64_t spent = std::max(taken, hashes_.bytes_appended() - before);
    budget.hash_bytes -= std::min(budget.hash_bytes, spent);
    if (check.deadline() != deadline) restart_time(check);
    if (spent > 0) look_at_clock(budget);
  }
}

void CheckBatch::look_at_clock(Budget& budget) {
  budget.spent = budget.spent || base::read_clocks().mono.ns >= budget.end_ns;
}

// All are given the same time, so the one whose time began first is due first.
void CheckBatch::restart_time(MessageCheck& check) {
  if (check.running_hook.linked()) running_.remove(check);
  running_.push_back(check);
}

void CheckBatch::end_overdue(base::MonoTime now) {
  for (MessageCheck* check = running_.front(); check != nullptr && check->deadline() <= now;
       check = running_.front()) {
    MXRING_PROBE("check: its time is over");
    running_.remove(*check);
    check->give_up();
  }
}

void CheckBatch::invariants() {
  MXRING_ASSERT(running_.size() <= live_ && touched_.size() <= live_);
  for (MessageCheck* check = running_.front(); check != nullptr; check = running_.next(*check)) {
    const MessageCheck* next = running_.next(*check);
    MXRING_ASSERT(next == nullptr || check->deadline() <= next->deadline());
    // What it has not hashed yet is there, or it would wait for ever.
    MXRING_ASSERT(!check->behind() || check->subject().message_to_check() != nullptr);
    MXRING_ASSERT(!check->behind() || check->touched_hook.linked());
  }
}

}  // namespace mxring::server
