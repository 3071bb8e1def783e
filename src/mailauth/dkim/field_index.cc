#include "mailauth/dkim/field_index.h"

#include <algorithm>
#include <bit>
#include <cstring>

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
    const std::uint64_t hash = hash_of(name);
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
}

std::optional<std::uint32_t> FieldIndex::take(std::string_view name, std::uint32_t skip) {
  std::size_t slot = 0;
  Entry* entry = find(name, hash_of(name), slot);
  if (entry == nullptr) return std::nullopt;
  if (entry->selection != selection_) {
    entry->selection = selection_;
    entry->next = entry->bottom;
  }
  if (entry->next == skip && skip != kNone) entry->next = above_[skip];
  const std::uint32_t taken = entry->next;
  if (taken == kNone) return std::nullopt;
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

// Eight bytes at a time, each with its letters' case taken out, folded by a wide multiplication.
std::uint64_t FieldIndex::hash_of(std::string_view name) const {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15ULL;
  constexpr std::uint64_t kLowerCase = 0x2020202020202020ULL;
  const auto fold = [](std::uint64_t a, std::uint64_t b) {
    __extension__ using Wide = unsigned __int128;
    const Wide product = Wide{a} * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  const std::uint64_t key = std::bit_cast<std::uintptr_t>(this) * kOdd;
  std::uint64_t hash = key ^ name.size();
  while (!name.empty()) {
    std::uint64_t word = 0;
    const std::size_t bytes = std::min<std::size_t>(name.size(), 8);
    std::memcpy(&word, name.data(), bytes);
    hash = fold(hash ^ (word | kLowerCase), key | 1);
    name.remove_prefix(bytes);
  }
  return hash;
}

}  // namespace mxring::mailauth::dkim
