#include "server/memory_gate.h"

#include <algorithm>

#include "base/assert.h"
#include "base/probe.h"

namespace mxring::server {

namespace {

// Buffers a resumed connection may fill before it is looked at again.
constexpr std::uint32_t kBuffersPerResume = 32;
// A message moves when it grows by this much within the time that reading may pause.
constexpr std::uint64_t kMovesBytes = 16 * base::kKiB;
// Evictions go on until this part more is free than makes memory short.
constexpr std::int64_t kBeyondLow = 4;
// Connections without a message may hold this part of the memory while it is short; whoever holds
// as little as an honest client that waits is not let go for more.
constexpr std::uint64_t kIdleShare = 4;
constexpr std::uint64_t kModestBytes = 8 * base::kKiB;
static_assert(kBuffersPerResume > 0 && kIdleShare > 1 && kBeyondLow > 1);

}  // namespace

MemoryGate::MemoryGate(const Setup& setup)
    : buffers_(setup.buffers),
      buffers_low_(setup.buffers_low),
      limits_(setup.limits),
      counters_(setup.counters) {}

void MemoryGate::enter(MemoryHolder& holder, const base::IpAddress& client) {
  MXRING_ASSERT(holder.account_ == nullptr);
  const base::IpAddress network = client.client_network();
  holder.account_ = &accounts_[network];
  holder.account_->client = network;
  holder.account_->holders.push_back(holder);
}

void MemoryGate::leave(MemoryHolder& holder) {
  MemoryAccount& account = *holder.account_;
  MXRING_ASSERT(!holder.receiving_hook_.linked() && favoured_ != &holder);
  MXRING_ASSERT(account.bytes >= holder.counted_.sum() && heap_bytes_ >= holder.counted_.heap);
  account.bytes -= holder.counted_.sum();
  heap_bytes_ -= holder.counted_.heap;
  idle_bytes_ -= holder.counted_.sum();
  if (holder.going_) going_bytes_ -= holder.counted_.sum();
  if (holder.going_) account.going -= holder.counted_.sum();
  holder.counted_ = {};
  account.holders.remove(holder);
  holder.account_ = nullptr;
  if (!account.holders.empty()) return;
  MXRING_ASSERT(account.bytes == 0);
  accounts_.erase(base::IpAddress(account.client));
}

void MemoryGate::recount(MemoryHolder& holder) {
  const HeldBytes before = holder.counted_;
  const HeldBytes now = holder.held();
  holder.counted_ = now;
  MXRING_ASSERT(heap_bytes_ >= before.heap && holder.account_->bytes >= before.sum());
  heap_bytes_ += now.heap - before.heap;
  holder.account_->bytes += now.sum() - before.sum();
  if (!holder.receiving_hook_.linked()) idle_bytes_ += now.sum() - before.sum();
  if (!holder.going_) return;
  going_bytes_ += now.sum() - before.sum();
  holder.account_->going += now.sum() - before.sum();
}

void MemoryGate::message_begins(MemoryHolder& holder, base::MonoTime now) {
  MXRING_ASSERT(!holder.paused_);
  receiving_.push_back(holder);
  idle_bytes_ -= holder.counted_.sum();
  holder.moved_bytes_ = 0;
  holder.moved_at_ = now;
}

void MemoryGate::message_ends(MemoryHolder& holder) {
  end_pause(holder);
  MXRING_ASSERT(holder.account_ != nullptr);
  receiving_.remove(holder);
  idle_bytes_ += holder.counted_.sum();
  if (favoured_ == &holder) favoured_ = nullptr;
  recount(holder);
}

std::int64_t MemoryGate::available() const {
  const std::uint64_t free =
      std::uint64_t{buffers_.free_buffers()} * buffers_.options().buffer_bytes;
  return static_cast<std::int64_t>(free) - static_cast<std::int64_t>(heap_bytes_);
}

std::int64_t MemoryGate::low_bytes() const {
  return static_cast<std::int64_t>(std::uint64_t{buffers_low_} * buffers_.options().buffer_bytes);
}

void MemoryGate::pause(MemoryHolder& holder, base::MonoTime now) {
  MXRING_ASSERT(holder.receiving_hook_.linked());
  if (favoured_ == nullptr) choose_favoured(now);
  if (holder.paused_ || &holder == favoured_) return;
  holder.paused_ = true;
  MXRING_PROBE("memory: reading pauses");
  holder.paused_at_ = now;
  ++paused_;
  counters_.add(obs::Counter::kReadPauses);
  holder.set_memory_pause(true);
}

// It receives again at the end of the turn, unless something else speaks against it.
void MemoryGate::end_pause(MemoryHolder& holder) {
  if (!holder.paused_) return;
  holder.paused_ = false;
  MXRING_ASSERT(paused_ > 0);
  --paused_;
  holder.set_memory_pause(false);
}

// Has not grown for as long as others are made to wait, although it may.
bool MemoryGate::stale(MemoryHolder& holder, base::MonoTime now) {
  const std::uint64_t bytes = holder.message_bytes();
  if (holder.paused_ || bytes - holder.moved_bytes_ >= kMovesBytes) {
    holder.moved_bytes_ = bytes;
    holder.moved_at_ = now;
    return false;
  }
  return now - holder.moved_at_ > limits_.memory_wait_ns;
}

void MemoryGate::choose_favoured(base::MonoTime now) {
  if (favoured_ != nullptr && !stale(*favoured_, now)) return;
  if (favoured_ != nullptr) MXRING_PROBE("memory: the favoured message stands still");
  favoured_ = nullptr;
  for (MemoryHolder* h = receiving_.front(); h != nullptr; h = receiving_.next(*h)) {
    if (stale(*h, now)) continue;
    if (favoured_ == nullptr || h->message_bytes() > favoured_->message_bytes()) favoured_ = h;
  }
}

bool MemoryGate::idle_too_much() const {
  MXRING_ASSERT(going_bytes_ <= idle_bytes_);
  return idle_bytes_ - going_bytes_ > limits_.memory_bytes / kIdleShare;
}

bool MemoryGate::must_evict(base::MonoTime now, std::size_t in_flight) {
  // Nothing is on its way to the log that would free memory, and no receive finds a buffer.
  const uring::BufferPool::Options& pool = buffers_.options();
  if (in_flight == 0 && buffers_.free_buffers() < std::max(pool.offered, pool.kept_back + 1)) {
    MXRING_PROBE("memory: eviction, no buffer is left");
    return true;
  }
  if (idle_too_much()) {
    MXRING_PROBE("memory: eviction, too much without a message");
    return true;
  }
  for (MemoryHolder* h = receiving_.front(); h != nullptr; h = receiving_.next(*h)) {
    if (!h->paused_ || now - h->paused_at_ <= limits_.memory_wait_ns) continue;
    MXRING_PROBE("memory: eviction, a pause has lasted too long");
    return true;
  }
  return false;
}

void MemoryGate::relieve(base::MonoTime now, std::size_t in_flight) {
  if (!is_short()) {
    favoured_ = nullptr;
    if (paused_ > 0) resume_paused();
    return;
  }
  choose_favoured(now);
  if (must_evict(now, in_flight)) evict();
  resume_paused();
}

std::uint64_t MemoryGate::evictable(const MemoryAccount& account) const {
  const bool favours = favoured_ != nullptr && favoured_->account_ == &account;
  MXRING_ASSERT(account.going <= account.bytes);
  return account.bytes - account.going - (favours ? favoured_->counted_.sum() : 0);
}

MemoryHolder* MemoryGate::largest_of(MemoryAccount& account) const {
  MemoryHolder* largest = nullptr;
  for (MemoryHolder* h = account.holders.front(); h != nullptr; h = account.holders.next(*h)) {
    if (h->going_ || h == favoured_) continue;
    const bool has_message = h->receiving_hook_.linked();
    if (!has_message && (!idle_too_much() || h->counted_.sum() <= kModestBytes)) continue;
    if (largest == nullptr || h->counted_.sum() > largest->counted_.sum()) largest = h;
  }
  return largest;
}

void MemoryGate::evict() {
  candidates_.clear();
  for (auto& [client, account] : accounts_) candidates_.push_back({evictable(account), &account});
  std::make_heap(candidates_.begin(), candidates_.end());
  for (std::size_t n = 0; n < kEvictionsPerTurn && !candidates_.empty(); ++n) {
    const auto going = static_cast<std::int64_t>(going_bytes_);
    if (available() + going >= low_bytes() + low_bytes() / kBeyondLow) return;
    std::pop_heap(candidates_.begin(), candidates_.end());
    const Candidate most = candidates_.back();
    candidates_.pop_back();
    MemoryHolder* holder = largest_of(*most.account);
    if (holder == nullptr) continue;  // what it holds is favoured, or going already
    evict(*holder);
    candidates_.push_back({evictable(*most.account), most.account});
    std::push_heap(candidates_.begin(), candidates_.end());
  }
}

// The client that holds most in sum loses its largest.
void MemoryGate::check_choice(const MemoryHolder& holder) {
  for (auto& [client, account] : accounts_) {
    const MemoryHolder* largest = largest_of(account);
    if (largest == nullptr) continue;
    MXRING_ASSERT(evictable(account) <= evictable(*holder.account_));
    if (holder.account_ != &account) continue;
    for (MemoryHolder* h = account.holders.front(); h != nullptr; h = account.holders.next(*h)) {
      const bool goes = h->receiving_hook_.linked() && h != favoured_ && !h->going_;
      MXRING_ASSERT(!goes || h->counted_.sum() <= holder.counted_.sum());
    }
  }
}

void MemoryGate::evict(MemoryHolder& holder) {
  if (base::in_simulation()) check_choice(holder);
  counters_.add(obs::Counter::kMemoryEvictions);
  if (holder.receiving_hook_.linked()) {
    holder.give_up_for_memory();
    MXRING_ASSERT(!holder.receiving_hook_.linked());
    recount(holder);
    return;
  }
  MXRING_ASSERT(!holder.going_ && holder.account_ != nullptr);
  holder.going_ = true;
  MXRING_PROBE("memory: a connection without a message goes");
  going_bytes_ += holder.counted_.sum();
  holder.account_->going += holder.counted_.sum();
  holder.cut_off_for_memory();
  recount(holder);
}

void MemoryGate::resume_paused() {
  const std::uint32_t free = is_short() ? 0 : buffers_.free_buffers();
  std::uint32_t grants = free > buffers_low_ ? (free - buffers_low_) / kBuffersPerResume : 0;
  if (favoured_ != nullptr) end_pause(*favoured_);
  // Somebody goes on in any case.
  if (favoured_ == nullptr) grants = std::max(grants, 1U);
  for (MemoryHolder* h = receiving_.front(); h != nullptr && grants > 0; h = receiving_.next(*h)) {
    if (!h->paused_) continue;
    MXRING_PROBE("memory: reading goes on");
    end_pause(*h);
    --grants;
  }
}

void MemoryGate::invariants() const {
  std::uint64_t heap = 0;
  std::uint64_t idle = 0;
  std::uint64_t going = 0;
  std::size_t receiving = 0;
  std::size_t paused = 0;
  for (auto& [client, account] : accounts_) {
    std::uint64_t bytes = 0;
    std::uint64_t going_of_account = 0;
    MXRING_ASSERT(!account.holders.empty());
    for (MemoryHolder* h = account.holders.front(); h != nullptr; h = account.holders.next(*h)) {
      const bool has_message = h->receiving_hook_.linked();
      MXRING_ASSERT(h->account_ == &account && (has_message || !h->paused_));
      bytes += h->counted_.sum();
      heap += h->counted_.heap;
      if (!has_message) idle += h->counted_.sum();
      if (h->going_) going_of_account += h->counted_.sum();
      receiving += has_message ? 1 : 0;
      paused += h->paused_ ? 1 : 0;
    }
    MXRING_ASSERT(bytes == account.bytes && going_of_account == account.going);
    going += going_of_account;
  }
  MXRING_ASSERT(heap == heap_bytes_ && idle == idle_bytes_ && going == going_bytes_);
  MXRING_ASSERT(receiving == receiving_.size() && paused == paused_);
  MXRING_ASSERT(favoured_ == nullptr || favoured_->receiving_hook_.linked());
}

}  // namespace mxring::server
