// The fields of an ARC chain (RFC 8617 4): which of a message's fields make up which set, and
// whether that is a chain at all (5.2, steps 1 to 3, without any cryptography).
//
// Pure. Positions only: the fields stay where they are.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mail/header_index.h"
#include "mailauth/dkim/tag_list.h"

namespace mxring::mailauth::arc {

constexpr std::uint32_t kSetsMax = 50;  // RFC 8617 4.2.1

enum class ChainStatus : std::uint8_t { kNone, kPass, kFail };  // cv=
std::optional<ChainStatus> chain_status_from(std::string_view word);

// "1" to "50", two digits at most.
std::optional<std::uint32_t> parse_instance(std::string_view text);
// Of an ARC-Authentication-Results value: "i=N;" in front of everything else.
std::optional<std::uint32_t> instance_of_results(std::string_view value);

// One set: indices into the message's fields.
struct ArcSet {
  static constexpr std::uint32_t kMissing = UINT32_MAX;
  std::uint32_t results = kMissing;
  std::uint32_t message_signature = kMissing;
  std::uint32_t seal = kMissing;
};

// The field's value without its line end.
std::string_view value_of(std::string_view header_section, const mail::Field& field);

class Chain {
 public:
  // What is wrong with the structure; nothing for a chain, and for no chain at all (size() is 0).
  std::optional<std::string_view> collect(std::string_view header_section,
                                          std::span<const mail::Field> fields);
  std::uint32_t size() const { return size_; }
  const ArcSet& set(std::uint32_t instance) const { return sets_[instance - 1]; }

 private:
  // The instance that a signature or seal claims, and what a seal says about the chain before it.
  std::optional<std::uint32_t> instance_of_tags(std::string_view value);
  std::optional<std::string_view> check_statuses(std::string_view header_section,
                                                 std::span<const mail::Field> fields);

  std::array<ArcSet, kSetsMax> sets_;
  std::uint32_t size_ = 0;
  std::vector<dkim::Tag> tags_;
};

}  // namespace mxring::mailauth::arc
