#include "cli/message_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cerrno>
#include <cstring>

#include "base/text.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/owned_fd.h"

namespace mxring::cli {

namespace {

std::expected<std::string, std::string> read_all(int fd, std::string_view name) {
  std::string text;
  std::array<char, 64 * 1024> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return std::unexpected(fmt::format("{}: {}", base::escaped(name), std::strerror(errno)));
    }
    if (got == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(got));
    if (text.size() > kMessageFileBytesMax) {
      return std::unexpected(fmt::format("{}: no message is larger than {}", base::escaped(name),
                                         base::format_bytes(kMessageFileBytesMax)));
    }
  }
}

}  // namespace

void add_message(CLI::App& command, MessageArgument& argument) {
  command.add_option("FILE", argument.path, "The message; - or nothing: standard input")
      ->type_name("FILE");
  command.add_flag("--exact", argument.exact, "Take the file's bytes as they are, bare LFs too");
}

std::uint64_t add_missing_cr(std::string& text) {
  std::uint64_t count = 0;
  const auto is_bare = [&text](std::size_t lf) { return lf == 0 || text[lf - 1] != '\r'; };
  for (std::size_t at = text.find('\n'); at != std::string::npos; at = text.find('\n', at + 1)) {
    count += is_bare(at) ? 1 : 0;
  }
  if (count == 0) return 0;
  std::string out;
  out.reserve(text.size() + count);
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t lf = std::min(text.find('\n', at), text.size());
    out.append(text, at, lf - at);
    if (lf == text.size()) break;
    if (is_bare(lf)) out += '\r';
    out += '\n';
    at = lf + 1;
  }
  text = std::move(out);
  return count;
}

std::expected<std::string, std::string> read_message(const MessageArgument& argument) {
  const bool standard_input = argument.path.empty() || argument.path == "-";
  OwnedFd file;
  if (!standard_input) {
    file = OwnedFd(::open(argument.path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) {
      return std::unexpected(
          fmt::format("{}: {}", base::escaped(argument.path), std::strerror(errno)));
    }
  }
  auto text = read_all(standard_input ? STDIN_FILENO : file.get(),
                       standard_input ? "standard input" : std::string_view(argument.path));
  if (text && !argument.exact) complete_line_ends(*text);
  return text;
}

void complete_line_ends(std::string& text) {
  if (const std::uint64_t count = add_missing_cr(text); count != 0) {
    complain(fmt::format("{} made CRLF, as mail has them (--exact leaves them)",
                         base::counted(count, "bare LF line end")));
  }
}

}  // namespace mxring::cli
