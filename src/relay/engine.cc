#include "relay/engine.h"

#include <algorithm>

#include "base/assert.h"

namespace mxring::relay {

Engine::Engine(const EngineOptions& options) : options_(options), random_(options.seed) {
  MXRING_ASSERT(options_.under_way_max > 0 && options_.window_records > 0);
}

bool Engine::has_room() const {
  return open_ == 0 || (open_ < options_.window_records && bytes_ < options_.window_bytes);
}

void Engine::set_state(std::uint32_t slot, State state) {
  Entry& entry = entries_[slot];
  MXRING_ASSERT(entry.state != state);
  if (entry.state == State::kUnderWay) {
    MXRING_ASSERT(under_way_ > 0 && under_way_bytes_ >= entry.bytes);
    --under_way_;
    under_way_bytes_ -= entry.bytes;
  }
  MXRING_ASSERT(entry.state != State::kWaiting || waiting_ > 0);
  if (entry.state == State::kWaiting) --waiting_;
  entry.state = state;
  if (state == State::kUnderWay) {
    ++under_way_;
    under_way_bytes_ += entry.bytes;
  }
  if (state == State::kWaiting) ++waiting_;
}

void Engine::make_ready(std::uint32_t slot) {
  MXRING_ASSERT(slot < entries_.size());
  set_state(slot, State::kReady);
  MXRING_ASSERT(entries_[slot].blocked_by == 0);
  ready_.push_back({entries_[slot].sequence, slot});
  std::push_heap(ready_.begin(), ready_.end());
}

std::uint32_t Engine::admit(const Admission& admission) {
  MXRING_ASSERT(admission.next > admission.first);
  MXRING_ASSERT(admission.aside || admission.first >= read_to_);
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(entries_.size()));
    entries_.emplace_back();
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  Entry& entry = entries_[slot];
  MXRING_ASSERT(entry.state == State::kFree);
  entry.aside = admission.aside;
  entry.first = admission.first;
  entry.next = admission.next;
  entry.sequence = sequence_++;
  entry.bytes = admission.bytes;
  entry.attempts = 0;
  entry.blocked_by = 0;
  entry.lanes.clear();
  if (options_.order == Order::kOffset) {
    entry.lanes.push_back(0);
  } else if (options_.order == Order::kLane) {
    entry.lanes.assign(admission.lanes.begin(), admission.lanes.end());
    std::sort(entry.lanes.begin(), entry.lanes.end());
    entry.lanes.erase(std::unique(entry.lanes.begin(), entry.lanes.end()), entry.lanes.end());
  }
  for (const std::uint64_t lane : entry.lanes) {
    auto& queue = lanes_[lane];
    if (!queue.empty()) ++entry.blocked_by;
    queue.push_back(slot);
  }
  MXRING_ASSERT(open_ < entries_.size());
  ++open_;
  bytes_ += entry.bytes;
  if (!entry.aside) {
    in_order_.push_back(slot);
    read_to_ = entry.next;
  }
  if (entry.blocked_by == 0) {
    make_ready(slot);
  } else {
    set_state(slot, State::kBlocked);
  }
  return slot;
}

void Engine::read_to(Offset next) {
  MXRING_ASSERT(next >= read_to_);
  read_to_ = next;
}

// Whose time has come is ready again.
void Engine::wake(base::Now now) {
  while (!alarms_.empty() && alarms_.front().at <= now.mono) {
    std::pop_heap(alarms_.begin(), alarms_.end());
    const Alarm alarm = alarms_.back();
    alarms_.pop_back();
    MXRING_ASSERT(alarm.slot < entries_.size());
    const Entry& entry = entries_[alarm.slot];
    if (entry.state == State::kWaiting && entry.ticket == alarm.ticket) make_ready(alarm.slot);
  }
}

bool Engine::is_full() const {
  return under_way_ >= options_.under_way_max ||
         (under_way_ > 0 && under_way_bytes_ >= options_.under_way_bytes);
}

std::optional<Ticket> Engine::start(base::Now now) {
  wake(now);
  if (now.mono < everybody_waits_ || is_full()) return std::nullopt;
  if (options_.order == Order::kChain && waiting_ > 0) return std::nullopt;
  if (ready_.empty()) return std::nullopt;
  std::pop_heap(ready_.begin(), ready_.end());
  const std::uint32_t slot = ready_.back().slot;
  ready_.pop_back();
  Entry& entry = entries_[slot];
  MXRING_ASSERT(entry.state == State::kReady);
  MXRING_ASSERT(entry.blocked_by == 0 && entry.sequence < sequence_);
  if (entry.attempts == 0) {
    entry.first_attempt = now.mono;
    entry.first_wall = now.wall;
  }
  ++entry.attempts;
  ++entry.ticket;
  set_state(slot, State::kUnderWay);
  return Ticket{slot, entry.ticket};
}

bool Engine::is_current(Ticket ticket) const {
  return ticket.slot < entries_.size() && entries_[ticket.slot].ticket == ticket.attempt &&
         entries_[ticket.slot].state == State::kUnderWay;
}

void Engine::done(Ticket ticket) {
  if (!is_current(ticket)) return;
  dead_in_a_row_ = 0;
  settle(ticket.slot);
}

double Engine::random_unit() {
  // SplitMix64: one addition and two multiplications, any seed will do.
  random_ += 0x9E3779B97F4A7C15ULL;
  std::uint64_t z = random_;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1.0p-53;
}

// Doubling, give or take a fifth, so that many relays do not come back at the same moment.
std::int64_t Engine::backoff_ns(std::uint32_t attempts) {
  MXRING_ASSERT(attempts > 0 && options_.retry.first_ns >= 0);
  std::int64_t delay_ns = std::min(options_.retry.first_ns, options_.retry.max_ns);
  for (std::uint32_t i = 1; i < attempts && delay_ns < options_.retry.max_ns; ++i) {
    delay_ns = delay_ns > options_.retry.max_ns / 2 ? options_.retry.max_ns : delay_ns * 2;
  }
  return static_cast<std::int64_t>(static_cast<double>(delay_ns) * (0.8 + 0.4 * random_unit()));
}

void Engine::retry_later(std::uint32_t slot, std::int64_t wait_ns, base::Now now) {
  Entry& entry = entries_[slot];
  MXRING_ASSERT(entry.state == State::kUnderWay || entry.state == State::kDying);
  entry.retry_at = now.mono + std::max(backoff_ns(entry.attempts), wait_ns);
  set_state(slot, State::kWaiting);
  alarms_.push_back({entry.retry_at, slot, entry.ticket});
  std::push_heap(alarms_.begin(), alarms_.end());
}

// Of a chain: what was begun after one that failed is to be begun again.
void Engine::recall_after(std::uint64_t sequence) {
  for (std::uint32_t slot = 0; slot < entries_.size(); ++slot) {
    Entry& entry = entries_[slot];
    if (entry.state != State::kUnderWay || entry.sequence <= sequence) continue;
    MXRING_ASSERT(entry.attempts > 0);
    --entry.attempts;  // not its own failure
    ++entry.ticket;
    make_ready(slot);
  }
}

Fate Engine::failed(Ticket ticket, const Failure& failure, base::Now now) {
  if (!is_current(ticket)) return Fate::kStale;
  Entry& entry = entries_[ticket.slot];
  if (failure.everybody) everybody_waits_ = std::max(everybody_waits_, now.mono + failure.wait_ns);
  MXRING_ASSERT(entry.attempts > 0 && entry.first_attempt <= now.mono);
  const std::int64_t give_up_ns = options_.retry.give_up_after_ns;
  const bool tired = give_up_ns != 0 && now.mono - entry.first_attempt >= give_up_ns;
  if (options_.order == Order::kChain) recall_after(entry.sequence);
  if (failure.for_good || tired) {
    if (failure.for_good && !failure.partly) ++dead_in_a_row_;
    set_state(ticket.slot, State::kDying);
    return Fate::kDead;
  }
  retry_later(ticket.slot, failure.wait_ns, now);
  return Fate::kRetry;
}

void Engine::buried(Ticket ticket) {
  MXRING_ASSERT(ticket.slot < entries_.size());
  MXRING_ASSERT(entries_[ticket.slot].state == State::kDying);
  settle(ticket.slot);
}

void Engine::not_buried(Ticket ticket, base::Now now) {
  MXRING_ASSERT(ticket.slot < entries_.size());
  MXRING_ASSERT(entries_[ticket.slot].state == State::kDying);
  retry_later(ticket.slot, 0, now);
}

void Engine::leave_lanes(std::uint32_t slot) {
  for (const std::uint64_t lane : entries_[slot].lanes) {
    const auto queue = lanes_.find(lane);
    MXRING_ASSERT(queue != lanes_.end() && queue->second.front() == slot);
    queue->second.pop_front();
    if (queue->second.empty()) {
      // The one lane of order "offset" comes again at once.
      if (options_.order == Order::kLane) lanes_.erase(queue);
      continue;
    }
    const std::uint32_t next = queue->second.front();
    MXRING_ASSERT(entries_[next].blocked_by > 0);
    if (--entries_[next].blocked_by == 0) make_ready(next);
  }
}

void Engine::settle(std::uint32_t slot) {
  Entry& entry = entries_[slot];
  MXRING_ASSERT(entry.state == State::kUnderWay || entry.state == State::kDying);
  leave_lanes(slot);
  set_state(slot, State::kSettled);
  MXRING_ASSERT(open_ > 0 && bytes_ >= entry.bytes);
  --open_;
  bytes_ -= entry.bytes;
  if (entry.aside) {
    set_state(slot, State::kFree);
    free_.push_back(slot);
    return;
  }
  while (!in_order_.empty() && entries_[in_order_.front()].state == State::kSettled) {
    MXRING_ASSERT(!entries_[in_order_.front()].aside);
    set_state(in_order_.front(), State::kFree);
    free_.push_back(in_order_.front());
    in_order_.pop_front();
  }
}

void Engine::restart_at(Offset next) {
  for (std::uint32_t slot = 0; slot < entries_.size(); ++slot) {
    Entry& entry = entries_[slot];
    if (entry.state == State::kFree) continue;
    ++entry.ticket;
    set_state(slot, State::kFree);
    free_.push_back(slot);
  }
  in_order_.clear();
  lanes_.clear();
  ready_.clear();
  alarms_.clear();
  open_ = 0;
  bytes_ = 0;
  read_to_ = next;
  MXRING_ASSERT(under_way_ == 0 && waiting_ == 0 && under_way_bytes_ == 0);
}

Offset Engine::committable() const {
  MXRING_ASSERT(in_order_.empty() || in_order_.front() < entries_.size());
  return in_order_.empty() ? read_to_ : entries_[in_order_.front()].first;
}

std::optional<base::MonoTime> Engine::due() const {
  if (is_full()) return std::nullopt;
  if (!ready_.empty() && (options_.order != Order::kChain || waiting_ == 0)) {
    return everybody_waits_;
  }
  if (alarms_.empty()) return std::nullopt;
  return std::max(alarms_.front().at, everybody_waits_);
}

void Engine::invariants() const {
  std::uint32_t open = 0, under_way = 0, waiting = 0;
  std::uint64_t bytes = 0;
  for (std::uint32_t slot = 0; slot < entries_.size(); ++slot) {
    const Entry& entry = entries_[slot];
    if (entry.state == State::kFree || entry.state == State::kSettled) continue;
    ++open;
    bytes += entry.bytes;
    under_way += entry.state == State::kUnderWay;
    waiting += entry.state == State::kWaiting;
    MXRING_ASSERT((entry.state == State::kBlocked) == (entry.blocked_by > 0));
    for (const std::uint64_t lane : entry.lanes) MXRING_ASSERT(lanes_.contains(lane));
    if (!entry.aside) MXRING_ASSERT(entry.first >= committable() && entry.next <= read_to_);
  }
  MXRING_ASSERT(open == open_ && bytes == bytes_);
  MXRING_ASSERT(under_way == under_way_ && waiting == waiting_);
  MXRING_ASSERT(under_way_ <= options_.under_way_max);
  for (std::size_t i = 1; i < in_order_.size(); ++i) {
    MXRING_ASSERT(entries_[in_order_[i - 1]].next <= entries_[in_order_[i]].first);
  }
  MXRING_ASSERT(free_.size() + open_ <= entries_.size());
}

}  // namespace mxring::relay
