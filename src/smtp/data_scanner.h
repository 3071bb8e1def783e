// Finds the end of data and removes stuffed dots (RFC 5321 4.1.1.4, 4.5.2) without copying: the
// content comes out as maximal runs of the input itself, a stuffed dot being the gap between two.
//
// Contract: next(input) consumes some or all of `input` and returns either a run of content
// (a view into `input`), or end of data, or "all consumed". Only CRLF.CRLF ends data (at the very
// beginning, .CRLF). The CRLF before the final dot belongs to the content. Nothing is rescanned;
// any split of the input gives the same content bytes, faults and end. At most three bytes of
// state are carried between calls, and they are bytes already emitted or known by the state
// (a CR is emitted with its run and never held back).
//
// Faults are sticky, never stop the scan, and do not change where data ends.
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

  Output next(std::string_view input);
  void reset();

  DataFault fault() const { return fault_; }       // the first one seen
  std::uint64_t content_bytes() const { return content_bytes_; }
  bool has_long_line() const { return long_line_; }  // over line_flag_bytes, CRLF not counted
  bool has_8bit() const { return eight_bit_; }

 private:
  enum class At : std::uint8_t { kLineStart, kText, kCr, kDot, kDotCr };
  std::uint32_t line_flag_bytes_;
  std::uint32_t line_bytes_max_;
  std::uint64_t content_bytes_ = 0;
  std::uint64_t line_bytes_ = 0;
  At at_ = At::kLineStart;
  DataFault fault_ = DataFault::kNone;
  bool long_line_ = false;
  bool eight_bit_ = false;
};

}  // namespace mxring::smtp
