#include "server/key_table.h"

#include <sys/mman.h>

#include <new>
#include <utility>

#include "base/assert.h"

namespace mxring::server {

namespace {

constexpr unsigned kFlagBits = 3;

}  // namespace

std::uint64_t KeyTable::fingerprint(std::string_view key) const {
  const std::uint64_t bits = hash_(key) >> kFlagBits << kFlagBits;
  return bits == kEmpty ? std::uint64_t{1} << kFlagBits : bits;
}

std::size_t KeyTable::slot_of(std::uint64_t fingerprint) const {
  MXRING_ASSERT(!slots_.empty() && keys_ < slots_.size());
  const std::size_t mask = slots_.size() - 1;
  std::size_t slot = fingerprint >> kFlagBits & mask;
  // Three quarters full at most: there is always an empty slot to stop at.
  while (slots_[slot] != kEmpty && slots_[slot] >> kFlagBits != fingerprint >> kFlagBits) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void SlotsUnmap::operator()(std::uint64_t* memory) const {
  ::munmap(memory, bytes);
}

void KeyTable::grow() {
  const std::size_t slots = slots_.empty() ? 512 : slots_.size() * 2;
  const std::size_t bytes = slots * sizeof(std::uint64_t);
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  ::madvise(mapped, bytes, MADV_HUGEPAGE);
  auto* memory = static_cast<std::uint64_t*>(mapped);  // zeros: every slot is empty
  const auto old_memory = std::exchange(memory_, decltype(memory_)(memory, SlotsUnmap(bytes)));
  const std::span old = std::exchange(slots_, std::span(memory, slots));
  MXRING_ASSERT(old.size() < slots_.size() && (slots_.size() & (slots_.size() - 1)) == 0);
  for (const std::uint64_t value : old) {
    if (value != kEmpty) slots_[slot_of(value)] = value;
  }
}

void KeyTable::add(std::string_view key, std::uint8_t flags) {
  MXRING_ASSERT(flags <= kFlagsMax);
  if (keys_ >= slots_.size() / 4 * 3) grow();
  const std::uint64_t added = fingerprint(key);
  std::uint64_t& slot = slots_[slot_of(added)];
  if (slot == kEmpty) {
    slot = added;
    ++keys_;
  }
  slot |= flags;
  MXRING_ASSERT(keys_ < slots_.size());
}

std::optional<std::uint8_t> KeyTable::find(std::string_view key) const {
  if (slots_.empty()) return std::nullopt;
  const std::uint64_t value = slots_[slot_of(fingerprint(key))];
  if (value == kEmpty) return std::nullopt;
  return static_cast<std::uint8_t>(value & kFlagsMax);
}

}  // namespace mxring::server
