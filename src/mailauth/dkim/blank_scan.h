// The vector half of the relaxed canonicalizations: passes over text that stays as it is, stops
// where white space may have to change, and rewrites where that is everywhere. Run-time dispatch
// over the instruction sets that Highway knows; every one gives the same answers.
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

// Where white space changes every few bytes, stops cost more than a copy: the relaxed form of at
// most kCompactBytes at `bytes`, which begin inside or at a blank, written to `to`. Decided without
// a branch per byte, so that no pattern of blanks is dearer than another.
//
// `size` must be at least kCompactBytes + 2: what a blank becomes depends on two bytes after it. A
// run of blanks is given out at its last byte, so nothing has to be remembered between two calls;
// no line end is divided.
constexpr std::size_t kCompactBytes = 64;
struct Compacted {
  std::size_t taken = 0;
  std::size_t written = 0;
  bool changed = false;
};
Compacted compact_blanks(const char* bytes, std::size_t size, char* to);

}  // namespace mxring::mailauth::dkim
