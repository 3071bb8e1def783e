// Names from text and from messages, and whole replies: bounds hold, and every name survives its
// escaped form, which is printable.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/assert.h"
#include "dns/message.h"
#include "dns/name.h"
#include "dns/transcript.h"

namespace {

using namespace mxring::dns;

void check_name(const Name& name) {
  MXRING_ASSERT(name.wire().size() < Name::kWireBytesMax);
  const std::string text = name.to_text();
  for (const char c : text) MXRING_ASSERT(c > ' ' && c < 0x7F);
  const auto again = Name::parse_escaped(text);
  MXRING_ASSERT(again && *again == name);
  MXRING_ASSERT(name.is_within(name) && name.is_within(Name()));
  if (name.is_host_name()) MXRING_ASSERT(text == name.to_raw_text());
}

void check_reply(std::span<const std::uint8_t> message, const Question& question) {
  const auto reply = parse_reply(message, question);
  if (!reply) return;
  const Answer& answer = reply->answer;
  for (const Name& name : answer.names) check_name(name);
  for (const Name& name : answer.aliases) check_name(name);
  for (const Exchanger& exchanger : answer.exchangers) check_name(exchanger.name);
  MXRING_ASSERT(answer.names.size() <= Answer::kNamesMax);
  MXRING_ASSERT(answer.aliases.size() <= Answer::kAliasesMax);
  std::string line = transcript_line(question, answer);
  line.pop_back();
  const auto read = parse_transcript_line(line);
  MXRING_ASSERT(read && read->question == question);
  MXRING_ASSERT(read->answer->texts == answer.texts && read->answer->names == answer.names);
  MXRING_ASSERT(read->answer->addresses == answer.addresses);
  MXRING_ASSERT(read->answer->exchangers == answer.exchangers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> bytes(data, size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto name = Name::parse(text)) check_name(*name);
  if (const auto name = Name::parse_escaped(text)) check_name(*name);
  for (std::size_t start = 0; start < size && start < 64; ++start) {
    std::size_t at = start;
    if (const auto name = read_name(bytes, at)) {
      MXRING_ASSERT(at > start && at <= size);
      check_name(*name);
    }
  }
  // As a reply to the question it carries itself, so that the records are reached.
  std::size_t at = 12;
  if (size < 18) return 0;
  const auto name = read_name(bytes, at);
  if (!name || size - at < 4) return 0;
  for (const Type type : {Type::kA, Type::kAaaa, Type::kMx, Type::kTxt, Type::kPtr, Type::kCname}) {
    check_reply(bytes, {*name, type});
  }
  (void)parse_transcript_line(text);
  return 0;
}
