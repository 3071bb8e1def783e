// Which fields a signature's h= means (RFC 6376 5.4.2): of each name the bottom-most that has not
// been taken yet. An index by name, built once per message, so that any number of signatures with
// any number of names costs what the fields and the names weigh, not their product.
//
// Contract: build() keeps the views given; begin_selection() puts all fields back; take() in the
// order of h=.
//
// Thread: the owner's. Memory: vectors that are kept. Failure: none.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/keyed_hash.h"
#include "mail/header_index.h"

namespace mxring::mailauth::dkim {

class FieldIndex {
 public:
  void build(std::string_view header, std::span<const mail::Field> fields);
  void begin_selection() { ++selection_; }
  // The index of the field, or nothing when no such field is left. `skip` is never taken: a
  // signature does not sign itself.
  std::optional<std::uint32_t> take(std::string_view name, std::uint32_t skip);

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Entry {  // one name
    std::uint64_t hash = 0;
    std::string_view name;
    std::uint32_t bottom = kNone;  // its last field
    std::uint32_t next = kNone;    // to take, in ...
    std::uint64_t selection = 0;   // ... this selection
  };

  Entry* find(std::string_view name, std::uint64_t hash, std::size_t& slot);

  base::KeyedHash hash_;              // strangers choose the names
  std::vector<std::uint32_t> slots_;  // into entries_, open addressing; a power of two
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> above_;  // the field of the same name before this one
  std::uint64_t selection_ = 0;
};

}  // namespace mxring::mailauth::dkim
