// The vector half of DataScanner: walks message bytes in blocks of 64, keeping line lengths and
// stopping where a decision per byte is needed. Run-time dispatch over the instruction sets that
// Highway knows (SSE2 to AVX-512 here); every one gives the same answers.
//
// Pure; no memory of its own, all state is in LineScan.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mxring::smtp {

struct LineScan {
  // In and out. Where the current line begins, relative to the first byte given; negative when it
  // began in an earlier piece.
  std::int64_t line_begin = 0;
  bool after_cr = false;       // the byte before the first one is a CR, its fate open
  bool at_line_start = false;  // ... or the end of a CRLF
  bool eight_bit = false;      // only ever set

  // In. Zero-length limits are never meant: both are at least kBlockBytes.
  std::int64_t line_bytes_max = 0;  // stop before a block with a longer line, if want_faults
  bool want_faults = true;

  // Out. The longest line that ended, or went on, here (CRLF not counted).
  std::int64_t longest_line = 0;
  bool suspect = false;  // stopped before a block that holds a fault; line state is that block's
};

constexpr std::size_t kBlockBytes = 64;

// Returns how many bytes were passed: all of them; or up to a dot at the start of a line, which is
// the next byte; or, with `suspect`, up to the block that has to be looked at byte by byte.
std::size_t scan_lines(const char* bytes, std::size_t size, LineScan& scan);

// Where nearly every line begins with a dot, a stop for each costs more than moving bytes: one
// block, without the dots that lines begin with, to `to` (at or before `bytes`).
//
// Looks at kUnstuffBytes and takes all of a block or nothing: nothing when something in it wants a
// decision, which is a fault, a line over the limit, or a dot with a CR after it.
constexpr std::size_t kUnstuffBytes = kBlockBytes + 2;
struct Unstuff {
  // In and out, as in LineScan; line_bytes counts a CR whose fate is open.
  std::int64_t line_bytes = 0;
  bool after_cr = false;
  bool at_line_start = false;
  bool eight_bit = false;
  std::int64_t longest_line = 0;
  // In.
  std::int64_t line_bytes_max = 0;
  bool want_faults = true;
  // Out.
  bool dots = false;  // there were some
};
struct Unstuffed {
  std::size_t taken = 0;  // 0 or kBlockBytes
  std::size_t written = 0;
};
Unstuffed unstuff_block(const char* bytes, char* to, Unstuff& state);

}  // namespace mxring::smtp
