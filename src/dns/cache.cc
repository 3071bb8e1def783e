#include "dns/cache.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/assert.h"
#include "base/probe.h"

namespace mxring::dns {

// The key's bytes follow the entry in one allocation: most names are far shorter than the longest.
struct Cache::Entry final : GrowthListener {
  Entry(Cache& owner, AnswerPtr kept) : cache(owner), answer(std::move(kept)) {}

  void answer_grew(std::size_t more) override {
    cache.charge(*this, more);
    cache.make_room();
  }
  std::string_view name() const { return {reinterpret_cast<const char*>(this + 1), name_bytes}; }

  static Entry* make(Cache& owner, const Question& question, AnswerPtr answer) {
    const std::string_view name = question.name.wire();
    void* memory = ::operator new(sizeof(Entry) + name.size());
    auto* entry = new (memory) Entry(owner, std::move(answer));
    entry->type = question.type;
    entry->name_bytes = static_cast<std::uint8_t>(name.size());
    std::memcpy(static_cast<void*>(entry + 1), name.data(), name.size());
    return entry;
  }
  static void destroy(Entry* entry) {
    entry->~Entry();
    ::operator delete(entry);
  }

  Cache& cache;
  AnswerPtr answer;
  base::ListHook use_hook;
  Entry* next = nullptr;  // in its chain
  std::uint64_t hash = 0;
  base::MonoTime expires;
  std::size_t bytes = 0;  // charged for it
  Type type = Type::kA;
  std::uint8_t name_bytes = 0;
};

struct Cache::EntryList : base::IntrusiveList<Entry, &Entry::use_hook> {};

namespace {

constexpr std::size_t kTableMin = 64;
// What the allocator and the table add to an entry and to a shared answer, roughly.
constexpr std::size_t kOverheadBytes = 64;

std::uint32_t lifetime_s(const Answer& answer) {
  return answer.is_failure() ? kFailureTtlS : std::clamp(answer.ttl_s, kTtlMinS, kTtlMaxS);
}

}  // namespace

static_assert((kTableMin & (kTableMin - 1)) == 0, "slots are chosen by a mask");
Cache::Cache(std::size_t bytes_max)
    : bytes_max_(bytes_max), table_(kTableMin), by_use_(std::make_unique<EntryList>()) {}

Cache::~Cache() {
  clear();
}

Cache::Entry** Cache::slot_of(const Question& question, std::uint64_t hash) {
  Entry** slot = &table_[hash & (table_.size() - 1)];
  while (*slot != nullptr && ((*slot)->hash != hash || (*slot)->type != question.type ||
                              (*slot)->name() != question.name.wire())) {
    slot = &(*slot)->next;
  }
  return slot;
}

AnswerPtr Cache::find(const Question& question, base::MonoTime now) {
  Entry* entry = *slot_of(question, hash_(question));
  const bool forgets = entry != nullptr && MXRING_BUGGIFY("the DNS cache forgets", 300);
  if (entry != nullptr && (entry->expires <= now || forgets)) {
    MXRING_PROBE("dns: an answer is too old");
    remove(*entry);
    entry = nullptr;
  }
  if (entry == nullptr) {
    ++stats_.misses;
    return nullptr;
  }
  ++stats_.hits;
  if (by_use_->front() != entry) {
    by_use_->remove(*entry);
    by_use_->push_front(*entry);
  }
  MXRING_ASSERT(entry->bytes > 0 && entry->use_hook.linked());
  return entry->answer;
}

void Cache::put(const Question& question, AnswerPtr answer, base::MonoTime now) {
  MXRING_ASSERT(answer != nullptr);
  const std::uint64_t hash = hash_(question);
  if (Entry* old = *slot_of(question, hash)) remove(*old);
  if (entries_ >= table_.size()) grow_table();
  Entry* entry = Entry::make(*this, question, std::move(answer));
  MXRING_ASSERT(*slot_of(question, hash) == nullptr);
  entry->hash = hash;
  entry->expires = now + lifetime_s(*entry->answer) * base::kNsPerSecond;
  Entry*& head = table_[hash & (table_.size() - 1)];
  entry->next = std::exchange(head, entry);
  by_use_->push_front(*entry);
  ++entries_;
  MXRING_ASSERT(entries_ == by_use_->size());
  entry->answer->set_growth_listener(entry);
  charge(*entry, sizeof(Entry) + entry->name_bytes + entry->answer->bytes() + kOverheadBytes);
  make_room();
}

void Cache::charge(Entry& entry, std::size_t bytes) {
  entry.bytes += bytes;
  bytes_ += bytes;
}

void Cache::make_room() {
  while (bytes_ > bytes_max_) {
    MXRING_ASSERT(!by_use_->empty());  // who holds bytes is in the list
    remove(*by_use_->back());
    MXRING_PROBE("dns: an answer goes for room");
    ++stats_.evicted;
  }
}

void Cache::remove(Entry& entry) {
  Entry** slot = &table_[entry.hash & (table_.size() - 1)];
  while (*slot != &entry) slot = &(*slot)->next;
  *slot = entry.next;
  by_use_->remove(entry);
  MXRING_ASSERT(bytes_ >= entry.bytes && entries_ > 0);
  bytes_ -= entry.bytes;
  --entries_;
  entry.answer->set_growth_listener(nullptr);
  Entry::destroy(&entry);
}

void Cache::grow_table() {
  std::vector<Entry*> larger(table_.size() * 2);
  for (Entry* entry : table_) {
    while (entry != nullptr) {
      Entry* const next = entry->next;
      Entry*& head = larger[entry->hash & (larger.size() - 1)];
      entry->next = std::exchange(head, entry);
      entry = next;
    }
  }
  MXRING_ASSERT(larger.size() == table_.size() * 2);
  table_ = std::move(larger);
}

void Cache::clear() {
  while (Entry* entry = by_use_->back()) remove(*entry);
}

}  // namespace mxring::dns
