// Journal reports: the envelope of a message and the message itself, as Exchange and Google send
// them to archives. The envelope is a text part of lines "Field: value"; a recipient's line may end
// in ", Expanded: LIST" or ", Forwarded: ADDRESS". There is no RFC; the fields are those of
// Exchange's journal report format.
#pragma once

#include "decode/context.h"

namespace mxring::decode {

// False: it is none, and nothing was changed but notes.
bool read_journal(Context& context);

}  // namespace mxring::decode
