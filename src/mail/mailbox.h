// Addresses in header fields (RFC 5322 3.4, obsolete forms of 4.4 included; RFC 6532 UTF-8).
// Pure functions over one field value, folding included; linear time; nothing allocated but the
// result.
//
// Obsolete forms taken: routes, white space and comments around dots, dots in phrases, empty list
// elements. So are dots anywhere in a local part, which carriers once gave out. Not taken, on
// purpose: control characters (even quoted), NUL, quoted pairs in domain literals, comments nested
// deeper than kCommentDepthMax. What can be read in two ways is an error:
// "<a@x>:<b@y>", "a@x <b@y>", an open comment or quoted string, anything behind the last address.
// Bytes that are not UTF-8 are let through in display names and comments, where old senders have
// them, and nowhere else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::mail {

constexpr std::size_t kCommentDepthMax = 32;

struct Mailbox {
  std::string display_name;  // unquoted, comments and folding removed; encoded words left as is
  std::string local_part;    // unquoted
  std::string domain;        // lower case ASCII; U-labels left as UTF-8; "[192.0.2.1]" for literals

  friend bool operator==(const Mailbox&, const Mailbox&) = default;
};

enum class AddressError : std::uint8_t {
  kEmpty,  // no address at all
  kSyntax,
  kTooMany,  // more than max addresses
  kGroup,    // group syntax where a single mailbox is wanted (only from parse_single_mailbox)
};

// Every mailbox of an address list, those inside groups included. A group without members
// ("undisclosed-recipients:;") is an address, but adds no mailbox.
std::expected<std::vector<Mailbox>, AddressError> parse_address_list(std::string_view value,
                                                                     std::size_t max = 1000);
// Exactly one mailbox, no group, no empty list elements: what a From field must hold for DMARC
// (RFC 9989).
std::expected<Mailbox, AddressError> parse_single_mailbox(std::string_view value);

// The same for the event path: the result lies in `scratch`, whose memory is reused, so that
// nothing is allocated once it has held the longest address.
struct MailboxScratch {
  Mailbox address;
  Mailbox inside;  // between angle brackets
};
std::expected<const Mailbox*, AddressError> parse_single_mailbox(std::string_view value,
                                                                 MailboxScratch& scratch);

}  // namespace mxring::mail
