// Does an Authentication-Results field that came with a message claim to be ours (RFC 8601 5)? Such
// a field is left out of what readers deliver, as anybody downstream would believe it.
//
// A field that begins as everybody writes it, with a plain name, perhaps a version, and a
// semicolon, is compared with our name, in any case and with or without a dot at the end. Any other
// beginning is in doubt, and then the answer is yes whenever the field holds our name at all,
// however it is taken apart by folding, comments (as what they hold, or as nothing), quotes and
// backslashes. It is yes at once where the end of the name cannot be told: for an open comment or
// quoted string, and for control characters, bytes outside ASCII or an encoded word in front of the
// first semicolon. Leaving out a stranger's odd field costs nothing; delivering a forged one does.
//
// Pure, linear, nothing allocated.
#pragma once

#include <string_view>

namespace mxring::mailauth::authres {

// `value`: what stands behind the colon of an Authentication-Results field.
bool claims_to_be_from(std::string_view value, std::string_view hostname);

}  // namespace mxring::mailauth::authres
