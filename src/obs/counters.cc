#include "obs/counters.h"

#include <utility>

#include "base/assert.h"

namespace mxring::obs {

namespace {

constexpr CounterInfo kInfo[] = {
#define X(id, name, help) {name, help, {}, {}},
    MXRING_COUNTERS(X)
#undef X
#define X(id, name, label, value, help) {name, help, label, value},
        MXRING_LABELLED_COUNTERS(X)
#undef X
};

}  // namespace

const CounterInfo& info(Counter counter) {
  MXRING_ASSERT(counter < Counter::kCount);
  return kInfo[static_cast<std::size_t>(counter)];
}

CounterRegistry::CounterRegistry(const Family& family) : family_(family) {
  MXRING_ASSERT(family.values.size() <= kFamilyValuesMax);
}

CounterSet& CounterRegistry::make_set(std::string thread_name) {
  const std::lock_guard lock(mutex_);
  entries_.push_back({std::move(thread_name), std::make_unique<CounterSet>()});
  return *entries_.back().set;
}

std::uint64_t CounterRegistry::sum(Counter counter) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t total = 0;
  for (const Entry& entry : entries_) total += entry.set->get(counter);
  return total;
}

std::uint64_t CounterRegistry::sum_of_family(std::size_t value) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t total = 0;
  for (const Entry& entry : entries_) total += entry.set->of_family(value);
  return total;
}

}  // namespace mxring::obs
