// A whole session: the bytes in any pieces give the same replies, envelopes and messages as in one
// piece per group. A group ends behind a DATA line and at the byte 0x1E; the last byte of the
// input also chooses limits and pieces.
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "tests/smtp/session_player.h"

namespace {

using namespace mxring::smtp;

std::vector<std::string_view> groups_of(std::string_view bytes) {
  std::vector<std::string_view> groups;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    const bool data = bytes.substr(begin, at + 1 - begin).ends_with("DATA\r\n");
    if (!data && bytes[at] != '\x1E') continue;
    groups.push_back(bytes.substr(begin, at + (data ? 1 : 0) - begin));
    begin = at + 1;
  }
  groups.push_back(bytes.substr(begin));
  return groups;
}

std::vector<std::string_view> pieces_of(std::string_view group, std::uint32_t& random) {
  std::vector<std::string_view> pieces;
  while (!group.empty()) {
    random = random * 1664525U + 1013904223U;
    const std::size_t size = std::min<std::size_t>(group.size(), 1 + (random >> 24) % 40);
    pieces.push_back(group.substr(0, size));
    group.remove_prefix(size);
  }
  return pieces;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const unsigned choice = data[size - 1];
  SessionOptions options{.hostname = "mx.example", .limits = {}, .leniency = {}, .starttls = true};
  if ((choice & 1) != 0) options.limits.errors_soft = options.limits.errors_hard = 100'000;
  if ((choice & 2) != 0) options.limits.message_bytes = 100;
  if ((choice & 4) != 0) options.limits.message_line_bytes = 80;
  if ((choice & 8) != 0) options.leniency = kStrict;
  if ((choice & 16) != 0) options.limits.messages_per_connection = 2;
  OwnerPolicy policy;
  policy.xclient = (choice & 32) != 0;
  policy.refuse_mail["no@a.example"] = "452 4.3.1 No";
  policy.refuse_rcpt["no@b.example"] = "550 5.7.1 No";
  const auto groups = groups_of({reinterpret_cast<const char*>(data), size});
  SessionPlayer whole(options, policy);
  SessionPlayer cut(options, policy, kReplyBytesMax + 64);
  whole.greet();
  cut.greet();
  std::uint32_t random = choice;
  for (const std::string_view group : groups) {
    whole.play(group);
    cut.play(pieces_of(group, random));
    MXRING_ASSERT(whole.take_replies() == cut.take_replies());
  }
  MXRING_ASSERT(whole.transcript() == cut.transcript());
  return 0;
}
