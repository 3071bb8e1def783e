// End of data and dot-unstuffing in pieces against the line-by-line reference. The first two bytes
// choose limits and pieces.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "smtp/data_scanner.h"
#include "tests/smtp/reference_unstuff.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::smtp;
  if (size < 2) return 0;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::uint32_t flag = data[0] < 200 ? 64U + data[0] : data[0] - 200U;
  const std::uint32_t max = flag + data[0] / 2;
  const std::size_t piece_max = 1U + data[1];
  const ReferenceUnstuffed wanted = reference_unstuff(stream, flag, max);

  DataScanner scanner(flag, max);
  std::string content;
  std::size_t end = std::string_view::npos;
  std::uint32_t random = data[1];
  for (std::size_t at = 0; at < stream.size() && end == std::string_view::npos;) {
    random = random * 1664525U + 1013904223U;
    const std::size_t bytes = std::min(stream.size() - at, 1 + (random >> 16) % piece_max);
    const auto memory = std::make_unique<char[]>(bytes);
    stream.copy(memory.get(), bytes, at);
    std::string_view piece(memory.get(), bytes);
    while (!piece.empty() && end == std::string_view::npos) {
      const DataScanner::Output output = scanner.next(piece, (data[1] & 1) != 0);
      MXRING_ASSERT(output.consumed <= piece.size() && output.consumed > 0);
      content += output.run;
      at += output.consumed;
      piece.remove_prefix(output.consumed);
      if (output.kind == DataScanner::Output::Kind::kEndOfData) end = at;
    }
  }
  MXRING_ASSERT(content == wanted.content);
  MXRING_ASSERT(end == wanted.end);
  MXRING_ASSERT(scanner.fault() == wanted.fault);
  MXRING_ASSERT(scanner.content_bytes() == wanted.content.size());
  MXRING_ASSERT(scanner.has_long_line() == wanted.long_line);
  MXRING_ASSERT(scanner.has_8bit() == wanted.eight_bit);
  return 0;
}
