#include "mailauth/dkim/field_index.h"

#include <bit>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::mailauth::dkim {

void FieldIndex::build(std::string_view header, std::span<const mail::Field> fields) {
  const std::size_t slots = std::bit_ceil(fields.size() * 2 + 1);
  slots_.assign(slots, kNone);
  entries_.clear();
  above_.assign(fields.size(), kNone);
  selection_ = 0;
  for (std::uint32_t i = 0; i < fields.size(); ++i) {
    const std::string_view name = header.substr(fields[i].begin, fields[i].name_bytes);
    const std::uint64_t hash = hash_.ignoring_case(name);
    std::size_t slot = 0;
    Entry* entry = find(name, hash, slot);
    if (entry == nullptr) {
      slots_[slot] = static_cast<std::uint32_t>(entries_.size());
      entries_.push_back({.hash = hash, .name = name});
      entry = &entries_.back();
    }
    above_[i] = entry->bottom;
    entry->bottom = i;
  }
  // A search ends at a free slot.
  MXRING_ASSERT(entries_.size() < slots_.size());
}

std::optional<std::uint32_t> FieldIndex::take(std::string_view name, std::uint32_t skip) {
  MXRING_ASSERT(!slots_.empty());
  std::size_t slot = 0;
  Entry* entry = find(name, hash_.ignoring_case(name), slot);
  if (entry == nullptr) return std::nullopt;
  if (entry->selection != selection_) {
    entry->selection = selection_;
    entry->next = entry->bottom;
  }
  if (entry->next == skip && skip != kNone) entry->next = above_[skip];
  const std::uint32_t taken = entry->next;
  if (taken == kNone) return std::nullopt;
  // Upwards only, so that no field is taken twice in a selection.
  MXRING_ASSERT(above_[taken] == kNone || above_[taken] < taken);
  entry->next = above_[taken];
  return taken;
}

FieldIndex::Entry* FieldIndex::find(std::string_view name, std::uint64_t hash, std::size_t& slot) {
  const std::size_t mask = slots_.size() - 1;
  for (slot = hash & mask; slots_[slot] != kNone; slot = (slot + 1) & mask) {
    Entry& entry = entries_[slots_[slot]];
    if (entry.hash == hash && base::ascii_iequals(entry.name, name)) return &entry;
  }
  return nullptr;
}

}  // namespace mxring::mailauth::dkim
