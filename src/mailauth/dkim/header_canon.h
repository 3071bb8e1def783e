// Header canonicalization (RFC 6376 3.4.1, 3.4.2) of one field at a time.
//
// Pure. Writes into memory of the caller that has room for as many bytes as the field has, and
// kSlackBytes more.
#pragma once

#include <cstddef>
#include <string_view>

#include "mail/header_index.h"

namespace mxring::mailauth::dkim {

constexpr std::size_t kSlackBytes = 4;  // a colon, and a line end that the field may lack

// The relaxed form of `name` ":" `value` CRLF; returns the end of what was written.
char* relax_field(std::string_view name, std::string_view value, char* to);

// The same of a signature's own field: the bytes `left_out` (a part of `value`, RFC 6376 3.7: what
// b= says) are not there, and neither is the CRLF at the end.
char* relax_own_field(std::string_view name, std::string_view value, std::string_view left_out,
                      char* to);

// A signature's own field as simple canonicalization has it: without its line end, in two parts
// with `left_out` (a part of `field`, the line end perhaps included) gone between them.
struct SimpleField {
  std::string_view before;
  std::string_view after;
};
SimpleField simple_own_field(std::string_view field, std::string_view left_out);

}  // namespace mxring::mailauth::dkim
