// Text of header fields as a person reads it: unfolded, encoded words (RFC 2047) decoded, UTF-8
// (RFC 6532) as it is, anything else U+FFFD.
//
// As RFC 2047 6.2 has it, white space between two encoded words goes. More is taken than it allows:
// words that touch other text, that hold spaces, or that are longer than 75 bytes; and a character
// cut in two by the end of one word goes on in the next of the same charset. Linear time.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mail/charset.h"

namespace mxring::mail {

struct HeaderTextNotes {
  std::uint64_t replaced = 0;    // bytes that stand for nothing in their charset
  bool unknown_charset = false;  // of an encoded word, which then is left as it stands
};

// Appends to `out`.
HeaderTextNotes decode_header_text(std::string_view value, CharsetDecoder& charsets,
                                   std::string& out);

}  // namespace mxring::mail
