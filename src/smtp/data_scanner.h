// Finds the end of data and removes stuffed dots (RFC 5321 4.1.1.4, 4.5.2) without copying: the
// content comes out as runs of the input itself, a stuffed dot being the gap between two. Where
// lines that begin with dots follow one another closely, and the input may be rewritten, they are
// moved together in it instead, so that a message of nothing else costs little more than another.
//
// Contract: next(input) consumes some or all of `input` and returns either a run of content
// (a view into `input`), or end of data, or "all consumed". Only CRLF.CRLF ends data (at the very
// beginning, .CRLF). The CRLF before the final dot belongs to the content. Nothing is rescanned;
// any split of the input gives the same content bytes, faults and end. At most three bytes of
// state are carried between calls, and they are bytes already emitted or known by the state
// (a CR is emitted with its run and never held back). One exception: the CR of a line that begins
// with ".CR" but not ".CRLF" is left out of the content; the message is at fault there anyway.
//
// Faults are sticky, never stop the scan, and do not change where data ends. After end of data,
// reset() before the next message.
//
// Thread: the owner's. No allocation. Blocks of 64 bytes are looked at by block_scan.h; bytes are
// looked at singly only at a line's first dot and where a block holds the message's first fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mxring::smtp {

enum class DataFault : std::uint8_t {
  kNone,
  kBareCr,
  kBareLf,
  kNul,
  kLineTooLong,  // longer than line_bytes_max
};

class DataScanner {
 public:
  struct Output {
    enum class Kind : std::uint8_t { kRun, kEndOfData, kNeedInput };
    Kind kind = Kind::kNeedInput;
    std::size_t consumed = 0;  // bytes of the input used by this call
    std::string_view run;      // kRun: content, inside the input
  };

  explicit DataScanner(std::uint32_t line_flag_bytes, std::uint32_t line_bytes_max);

  // `rewritable`: the bytes are the caller's own; what lies between two runs may have been moved.
  Output next(std::string_view input, bool rewritable = false);
  // Content as it is, of a size known otherwise (RFC 3030 BDAT): no dot means anything. take_end()
  // after the last byte. Never mixed with next() in one message.
  void take(std::string_view content);
  void take_end();
  void reset();

  DataFault fault() const { return fault_; }            // the first one seen
  std::uint64_t fault_at() const { return fault_at_; }  // the content byte that showed it
  std::uint64_t content_bytes() const { return content_bytes_; }
  bool has_long_line() const { return long_line_; }  // over line_flag_bytes, CRLF not counted
  bool has_8bit() const { return eight_bit_; }

 private:
  // What the bytes before the next one are: of these only kDot and kDotCr stand for bytes that
  // are not content yet.
  enum class At : std::uint8_t { kLineStart, kText, kCr, kDot, kDotCr };

  // Each consumes content from `at` on and returns where it stopped: the end, or a dot at the
  // start of a line.
  std::size_t scan_content(std::string_view input, std::size_t at);
  std::size_t scan_blocks(std::string_view input, std::size_t at);
  std::size_t scan_bytes(std::string_view input, std::size_t at, std::size_t end);
  std::size_t unstuff(std::string_view input, std::size_t at, std::size_t& to);

  void note(DataFault fault, std::size_t at) {
    if (fault_ != DataFault::kNone) return;
    fault_ = fault;
    fault_at_ = origin_ + at;
  }
  void judge_line(std::uint64_t bytes, std::size_t at);

  std::uint32_t line_flag_bytes_;
  std::uint32_t line_bytes_max_;
  std::uint64_t content_bytes_ = 0;
  std::uint64_t origin_ = 0;  // the content offset of the current input's first byte; may wrap
  std::uint64_t fault_at_ = 0;
  std::uint64_t line_bytes_ = 0;  // of the current line, without a CR whose fate is open
  At at_ = At::kLineStart;
  DataFault fault_ = DataFault::kNone;
  bool raw_ = false;  // take(): dots are content
  bool long_line_ = false;
  bool eight_bit_ = false;
};

}  // namespace mxring::smtp
