#include "mailauth/spf/outcome_cache.h"

#include <cstddef>
#include <string_view>

namespace mxring::mailauth::spf {

namespace {

constexpr std::size_t kSlots = 512;
constexpr std::size_t kTextBytesMax = 512;  // of an outcome that is kept
static_assert(kSlots > 0 && (kSlots & (kSlots - 1)) == 0);

}  // namespace

OutcomeCache::OutcomeCache() : slots_(kSlots) {}

std::size_t OutcomeCache::slot_of(const Evaluator& evaluator) const {
  return hash_(evaluator.outcome().domain, by_address_(evaluator.client())) % kSlots;
}

const Outcome* OutcomeCache::find(const Evaluator& begun, base::MonoTime now) const {
  const Slot& slot = slots_[slot_of(begun)];
  const Outcome& wanted = begun.outcome();
  const bool same = slot.expires > now && slot.client == begun.client() &&
                    slot.outcome.identity == wanted.identity &&
                    slot.outcome.domain == wanted.domain;
  return same ? &slot.outcome : nullptr;
}

void OutcomeCache::put(const Evaluator& done, base::MonoTime now) {
  if (!done.repeatable()) return;
  const Outcome& outcome = done.outcome();
  const std::size_t bytes =
      outcome.domain.size() + outcome.mechanism.size() + outcome.problem.size();
  if (bytes > kTextBytesMax) return;
  Slot& slot = slots_[slot_of(done)];
  slot.client = done.client();
  slot.outcome = outcome;
  slot.expires = now + kLifetimeNs;
}

}  // namespace mxring::mailauth::spf
