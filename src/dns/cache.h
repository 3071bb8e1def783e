// Answers by question, kept for their TTL (clamped), bounded in bytes; the least recently used goes
// first. Pure: time is an argument.
//
// What it costs is counted exactly: the key, the answer and the parsed form beside it, also when
// that form is made later. Names that are never asked for again push each other out from the cold
// end, so a flood of them leaves what is in use where it is, as long as it is used often enough.
//
// Thread: one, its shard's. Answers outlive their entry for whoever still holds them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/intrusive_list.h"
#include "dns/question.h"
#include "dns/record.h"

namespace mxring::dns {

constexpr std::uint32_t kTtlMinS = 30;
constexpr std::uint32_t kTtlMaxS = 3600;
// Resolution failures are remembered for a moment only (RFC 9520 3.2 demands one second or more).
constexpr std::uint32_t kFailureTtlS = 5;

struct CacheStats {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;   // expired ones included
  std::uint64_t evicted = 0;  // before their time, for room
};

class Cache {
 public:
  explicit Cache(std::size_t bytes_max);
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;
  ~Cache();

  // nullptr: not there, or no longer valid.
  AnswerPtr find(const Question& question, base::MonoTime now);
  // Replaces what was there. An answer larger than the whole cache is not kept.
  void put(const Question& question, AnswerPtr answer, base::MonoTime now);
  void clear();

  std::size_t entries() const { return entries_; }
  std::size_t bytes() const { return bytes_; }
  const CacheStats& stats() const { return stats_; }

 private:
  struct Entry;
  struct EntryList;

  Entry** slot_of(const Question& question, std::uint64_t hash);
  void charge(Entry& entry, std::size_t bytes);
  void make_room();
  void remove(Entry& entry);
  void grow_table();

  QuestionHash hash_;
  std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  std::size_t entries_ = 0;
  CacheStats stats_;
  std::vector<Entry*> table_;          // chains by hash; the size is a power of two
  std::unique_ptr<EntryList> by_use_;  // the most recently used first
};

}  // namespace mxring::dns
