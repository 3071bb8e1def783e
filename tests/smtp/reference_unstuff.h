// End of data and dot-unstuffing told line by line over the whole stream, as the standard words it
// (RFC 5321 4.5.2): what DataScanner is compared with. Slow and plain on purpose.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "smtp/data_scanner.h"

namespace mxring::smtp {

struct ReferenceUnstuffed {
  std::string content;
  std::size_t end = std::string_view::npos;  // after the final CRLF; npos = not in the stream
  DataFault fault = DataFault::kNone;
  bool long_line = false;
  bool eight_bit = false;
  std::size_t runs = 0;  // pieces of the stream that the content is made of, none adjacent
};

inline ReferenceUnstuffed reference_unstuff(std::string_view stream, std::uint32_t line_flag_bytes,
                                            std::uint32_t line_bytes_max) {
  ReferenceUnstuffed result;
  std::size_t last_copied = std::string_view::npos;  // position in the stream
  const auto note = [&](DataFault fault) {
    if (result.fault == DataFault::kNone) result.fault = fault;
  };
  const auto copy = [&](std::size_t position) {
    if (last_copied == std::string_view::npos || last_copied + 1 != position) ++result.runs;
    last_copied = position;
    result.content += stream[position];
  };
  std::size_t begin = 0;
  while (begin < stream.size()) {
    const std::size_t crlf = stream.find("\r\n", begin);
    const bool ended = crlf != std::string_view::npos;
    const std::size_t line_end = ended ? crlf : stream.size();
    const std::string_view line = stream.substr(begin, line_end - begin);
    if (ended && line == ".") {
      result.end = crlf + 2;
      return result;
    }
    std::size_t skip = line.starts_with('.') ? 1 : 0;
    if (line.starts_with(".\r") && (ended || line.size() > 2)) note(DataFault::kBareCr);
    if (line.starts_with(".\r")) skip = 2;
    std::size_t length = 0;
    for (std::size_t i = skip; i < line.size(); ++i) {
      copy(begin + i);
      // A CR that ends an unfinished stream may yet become part of a CRLF.
      const bool open = !ended && line[i] == '\r' && i + 1 == line.size();
      if (open) continue;
      if (line[i] == '\r') note(DataFault::kBareCr);
      if (line[i] == '\n') note(DataFault::kBareLf);
      if (line[i] == '\0') note(DataFault::kNul);
      if (static_cast<unsigned char>(line[i]) >= 0x80) result.eight_bit = true;
      ++length;
      if (length > line_flag_bytes) result.long_line = true;
      if (length > line_bytes_max) note(DataFault::kLineTooLong);
    }
    if (ended) {
      copy(crlf);
      copy(crlf + 1);
    }
    begin = ended ? crlf + 2 : stream.size();
  }
  return result;
}

}  // namespace mxring::smtp
