// Address lists of header fields (RFC 5322 3.4, obsolete forms included) for people who read mail,
// not for a verdict: every element comes out, those that are no address with their text as the
// name. mail/mailbox.h is the strict reader. Linear time, no recursion.
#pragma once

#include <string_view>

#include "decode/context.h"

namespace mxring::decode {

// The members of groups are in it, the groups' names are not.
List<Address> read_addresses(Context& context, std::string_view value, std::string_view field_name);

// Message ids, without their brackets (RFC 5322 3.6.4).
List<Text> read_message_ids(Context& context, std::string_view value);
OptText read_message_id(Context& context, std::string_view value);

// What stands between the brackets of "<a@b>", or all of it without white space at the ends.
std::string_view without_brackets(std::string_view text);

}  // namespace mxring::decode
