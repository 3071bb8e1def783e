// A set of short texts with three flags each, made once and then only looked up: the keys of a
// recipient file, of which there may be tens of millions. Kept of a text is a fingerprint: 61 bits
// of a hash whose key is random and this table's own. That is one memory access a look-up and 10.7
// to 21.3 bytes a key whatever its length; the price is that a text which was never added is found
// with a probability of keys / 2^61 (ten million keys: one in 230 billion look-ups), and nobody who
// does not know the hash's key can search for one.
//
// Thread: add() one thread; find() any number at once, allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "base/keyed_hash.h"

namespace mxring::server {

// Gives a mapping back.
struct SlotsUnmap {
  std::size_t bytes;
  SlotsUnmap() : bytes(0) {}
  explicit SlotsUnmap(std::size_t mapped_bytes) : bytes(mapped_bytes) {}
  void operator()(std::uint64_t* memory) const;
};

class KeyTable {
 public:
  static constexpr std::uint8_t kFlagsMax = 7;

  // Adds `flags` to those of the key.
  void add(std::string_view key, std::uint8_t flags);
  std::optional<std::uint8_t> find(std::string_view key) const;

  std::size_t size() const { return keys_; }
  std::size_t memory_bytes() const { return slots_.size() * sizeof(std::uint64_t); }

 private:
  static constexpr std::uint64_t kEmpty = 0;

  std::uint64_t fingerprint(std::string_view key) const;
  // The slot that holds the fingerprint, or the empty one where it belongs.
  std::size_t slot_of(std::uint64_t fingerprint) const;
  void grow();

  base::KeyedHash hash_;
  // From huge pages where the host gives them: a look-up at random in a large table is otherwise
  // two misses, one of them for the address translation.
  std::unique_ptr<std::uint64_t[], SlotsUnmap> memory_;
  std::span<std::uint64_t> slots_;  // fingerprint and flags
  std::size_t keys_ = 0;
};

}  // namespace mxring::server
