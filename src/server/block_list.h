// DNS block lists (`access.dnsbl`, RFC 5782): a client's address, turned round and put before the
// zone's name, has an A record when the list names it.
//
//   "zone"                any address in 127.0.0.0/8 is a listing
//   "zone=127.0.0.2/31"   only these are
//
// Never a listing, but a list that is of no use: addresses outside 127/8 (a zone that was sold
// answers every question with an address of its own), 127.255.255.0/24 (how lists say that they
// refuse to answer us), 127.0.0.1 (what resolvers put in place of names they block). A list that
// names the test address 127.0.0.1 lists the world (RFC 5782 5), and is of no use while it does.
//
// Pure; immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip_address.h"
#include "dns/question.h"
#include "dns/record.h"

namespace mxring::server {

class BlockList {
 public:
  static constexpr std::size_t kListsMax = 16;

  enum class Reading : std::uint8_t {
    kNotListed,
    kListed,
    kNoUse,  // no answer, or one that says nothing of the client
  };

  // The message says what is wrong with the entry.
  static std::expected<BlockList, std::string> parse(std::string_view entry);

  const std::string& zone() const { return zone_; }
  // Nothing when the name would be too long.
  std::optional<dns::Question> question(const base::IpAddress& client) const;
  // About the address that no list names, in the client's family.
  std::optional<dns::Question> control_question(const base::IpAddress& client) const;
  Reading read(const dns::Answer& answer) const;

 private:
  std::optional<dns::Question> about(std::string_view turned_round) const;

  std::string zone_;
  std::uint32_t network_ = 0x7F000000;
  std::uint32_t mask_ = 0xFF000000;
};

// Of entries that were read already.
std::vector<BlockList> parse_block_lists(const std::vector<std::string>& entries);

// Loopback, private and link-local addresses are on nobody's list.
bool is_asked_about(const base::IpAddress& client);

}  // namespace mxring::server
