// Command lines: whatever the line, the results lie inside it and keep their bounds, and a path
// that was accepted is accepted again when written plainly.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "smtp/command.h"

namespace {

using namespace mxring::smtp;

bool inside(std::string_view part, std::string_view whole) {
  if (part.empty()) return true;
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

void check_path(std::string_view path, std::string_view line) {
  MXRING_ASSERT(inside(path, line));
  MXRING_ASSERT(path.size() + 2 <= kPathBytesMax);
  for (const char c : path) MXRING_ASSERT(static_cast<unsigned char>(c) >= 0x20 && c != 0x7F);
}

void check_mail(std::string_view arguments, const Extensions& extensions) {
  const auto mail = parse_mail(arguments, extensions);
  if (!mail) {
    MXRING_ASSERT(Reply(mail.error()).is_permanent());
    return;
  }
  check_path(mail->reverse_path, arguments);
  MXRING_ASSERT(inside(mail->envelope_id, arguments));
  const std::string plain =
      "FROM:<" + std::string(mail->reverse_path) + ">" + (mail->smtputf8 ? " SMTPUTF8" : "");
  const auto again = parse_mail(plain, extensions);
  MXRING_ASSERT(again && again->reverse_path == mail->reverse_path);
}

void check_rcpt(std::string_view arguments, const Extensions& extensions) {
  const auto recipient = parse_rcpt(arguments, extensions);
  if (!recipient) {
    MXRING_ASSERT(Reply(recipient.error()).is_permanent());
    return;
  }
  MXRING_ASSERT(!recipient->path.empty());
  check_path(recipient->path, arguments);
  MXRING_ASSERT(inside(recipient->original, arguments));
  const std::string plain = "TO:<" + std::string(recipient->path) + ">";
  const auto again = parse_rcpt(plain, extensions);
  MXRING_ASSERT(again && again->path == recipient->path);
}

void check_line(std::string_view line) {
  const CommandLine command = parse_command(line);
  MXRING_ASSERT(inside(command.arguments, line));
  (void)is_hello_name(command.arguments, kStrict);
  const ChunkArguments chunk = parse_chunk(command.arguments);
  MXRING_ASSERT(chunk.size == ChunkArguments::Size::kUnknown || !command.arguments.empty());
  for (unsigned bits = 0; bits < 8; ++bits) {
    const Extensions extensions{.esmtp = (bits & 1) != 0,
                                .smtputf8 = (bits & 2) != 0,
                                .leniency = (bits & 4) != 0 ? Leniency{} : kStrict};
    check_mail(command.arguments, extensions);
    check_rcpt(command.arguments, extensions);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text(reinterpret_cast<const char*>(data), size);
  // The session refuses control bytes before it parses a line.
  for (char& c : text) {
    if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F) c = ' ';
  }
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    check_line(std::string_view(text).substr(at, end - at));
    at = end + 1;
  }
  return 0;
}
