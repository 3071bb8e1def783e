// The message a command is given: a file, or standard input. Mail has CRLF line ends, files mostly
// do not: bare LFs become CRLF, which is said on standard error, unless the caller wants the bytes
// as they are (--exact).
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

namespace CLI {
class App;
}

namespace mxring::cli {

struct MessageArgument {
  std::string path;  // empty or "-": standard input
  bool exact = false;
};

void add_message(CLI::App& command, MessageArgument& argument);

constexpr std::uint64_t kMessageFileBytesMax = std::uint64_t{1} << 30;

// The error is a line for a person.
std::expected<std::string, std::string> read_message(const MessageArgument& argument);

// The same of a text at hand, and says so on standard error.
void complete_line_ends(std::string& text);

// Bare LFs become CRLF. How many there were.
std::uint64_t add_missing_cr(std::string& text);

}  // namespace mxring::cli
