// Plain mail as facts (RFC 5322, MIME): what its header says, its text and html bodies, and what
// else is in it. Which parts are bodies is RFC 8621 4.1.4's rule, without its recursion; every part
// that is no body is an attachment.
#pragma once

#include "decode/context.h"

namespace mxring::decode {

void read_message(Context& context);

// A date of a header field; one that cannot be read is told as a defect.
OptTime read_date(Context& context, std::string_view value, std::string_view field_name);

}  // namespace mxring::decode
