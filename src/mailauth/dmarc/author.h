// The author domain of a message (RFC 9989 5.3.1): what its From field means for DMARC. Exactly one
// From field with exactly one mailbox, that every program reads in the same way, or the message is
// refused (550 5.6.0).
//
// RFC 5322 allows more than that. What attacks use and mail from people does not is refused:
//   several fields, "From :" counted as one; a field without an address; several mailboxes; groups
//   (RFC 6854); empty list elements
//   routes, <@a.example:user@b.example>
//   comments or white space inside the address, <user@(b.example)a.example>; around it they are
//   fine
//   encoded words in the address, which some programs decode (RFC 2047 5 forbids them there)
//   a quoted local part with marks of address syntax, "user@b.example"@a.example
//   a domain that no host can have: other characters than letters, digits, hyphens, underscores
//   and dots once U-labels have become A-labels, a label over 63 bytes, a name over 253
//   everything mail::parse_single_mailbox does not take: control characters, open comments, ...
// What genuine mail does has one meaning all the same, and is taken: broken syntax is refused only
// when it can be read as two domains or as none (author_readings.h). So these are taken:
//   foo..bar@carrier.example, dots anywhere in a local part
//   "Shop" <info@shop.example>, with a comma, a semicolon or more words after it
//   info@shop.example <noreply@shop.example>, an address of the same domain as display name, also
//   one that is cut, me@shop... <me@shop.example>
//   Foo, Inc. [EU]: East @ Sea <info@shop.example>: raw marks in a display name, encoded words
//   beside and around them
//   info@shop.example. with a dot at the end, info@shop.example;
// and these are not: two domains in whatever way, also when one of them is hidden in an encoded
// word or a comment; an open quote or comment, which swallows the address; a list or a group that
// is well-formed, because it says that there are several authors. A display name is not looked at
// otherwise (RFC 9989 11.4), nor are Sender and Resent-From. " From:" at the start of a line
// continues the field before it, and before any field ends the header section. An address literal,
// user@[192.0.2.1], is an author, but has no policy; with anything else between the brackets it is
// no domain.
//
// Pure; nothing allocated once the scratch has held the longest address, U-labels apart.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>

#include "mail/header_index.h"
#include "mail/idna.h"
#include "mail/mailbox.h"

namespace mxring::mailauth::dmarc {

enum class AuthorError : std::uint8_t {
  kNoField,
  kSeveralFields,
  kEmpty,  // no address in it
  kSeveralMailboxes,
  kGroup,
  kSyntax,
  kRoute,
  kCommentInside,  // the address, or white space
  kEncodedWord,    // in the address
  kQuotedMarks,    // in the local part
  kDomain,
};
// For people, and for the text of the reply: "more than one From field".
std::string_view describe(AuthorError error);

struct AuthorScratch {
  mail::MailboxScratch mailbox;
  mail::DomainBuffer domain;
  std::string address;  // of the value, alone
  std::string author;   // its domain, while other readings are compared with it
  std::string decoded;
  std::string reading;
};

// `fields` index into `header_section`. The domain, in lower-case A-labels or as "[192.0.2.1]",
// lies in `scratch`.
std::expected<std::string_view, AuthorError> find_author_domain(std::string_view header_section,
                                                                std::span<const mail::Field> fields,
                                                                AuthorScratch& scratch);
// The same for the value of one From field.
std::expected<std::string_view, AuthorError> parse_author_domain(std::string_view value,
                                                                 AuthorScratch& scratch);
// Whether the value of a From field names no domain in any reading, so that there is none to
// pretend to: no at sign in it, none that is shown as one, none in its encoded words.
bool names_no_domain(std::string_view value, AuthorScratch& scratch);

}  // namespace mxring::mailauth::dmarc
