// Which domain a From value names that strict syntax does not take, if there is only one: broken
// syntax is refused only when it can be read as two domains or as none.
//
// The address is looked for where most programs find it: in the angle brackets, or alone. Then the
// value is read in every way we know of (as it is, with encoded words decoded once and twice, the
// space between them dropped or kept, without quotes and backslashes, without comments, without
// characters that nobody sees), and whatever stands after an at sign in any of these readings must
// be the same domain. A single label is none, and neither is a domain that an ellipsis cuts short.
//
// Pure; linear; the scratch keeps its memory.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "mailauth/dmarc/author.h"

namespace mxring::mailauth::dmarc {

// Of a value that mail::parse_single_mailbox has refused with what `refused` stands for. The domain
// lies in `scratch`.
std::expected<std::string_view, AuthorError> read_broken_value(std::string_view value,
                                                               AuthorError refused,
                                                               AuthorScratch& scratch);

}  // namespace mxring::mailauth::dmarc
