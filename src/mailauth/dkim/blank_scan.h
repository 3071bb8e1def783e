// The vector half of the relaxed canonicalizations: passes over text that stays as it is, and stops
// where white space may have to change. Run-time dispatch over the instruction sets that Highway
// knows; every one gives the same answers.
//
// Pure.
#pragma once

#include <cstddef>

namespace mxring::mailauth::dkim {

// Where the first blank lies that relaxed canonicalization may change: a tab, or a space before
// another blank or a CR, or a space that is the last byte. `size` when there is none.
std::size_t find_changing_blank(const char* bytes, std::size_t size);

// The same, but stops at every CR as well: for header fields, whose line ends are unfolded.
std::size_t find_changing_blank_or_cr(const char* bytes, std::size_t size);

}  // namespace mxring::mailauth::dkim
