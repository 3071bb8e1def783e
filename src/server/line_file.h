// Files of one entry a line, of any size, read a piece at a time: recipients, access rules.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <string>
#include <string_view>

namespace mxring::server {

struct FileError {
  std::uint64_t line = 0;  // from 1; 0: it is not about one line
  std::string what;
};

using LineTaker = std::function<std::expected<void, FileError>(std::string_view line)>;

// Hands over every line without its LF, the last one also when nothing ends it, until one is an
// error. Of a line of more than line_bytes_max so many and one more bytes are handed over.
[[nodiscard]] std::expected<void, FileError> for_each_line(const std::string& path,
                                                           std::size_t line_bytes_max,
                                                           const LineTaker& take);

// What stands on the line beside a comment ('#' at its start or after a blank) and blanks.
std::string_view without_comment(std::string_view line);

}  // namespace mxring::server
