// The walker against what must hold of any message, and the header scanner against the header
// index.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "base/text.h"
#include "mail/encoded_word.h"
#include "mail/header_index.h"
#include "mail/mime_walker.h"

namespace {

using namespace mxring::mail;

class Count final : public ByteSink {
 public:
  bool take(std::string_view bytes) override {
    MXRING_ASSERT(!bytes.empty() && bytes.size() <= kDecodedPieceBytes);
    size += bytes.size();
    return true;
  }
  std::size_t size = 0;
};

void check_part(const MimeWalker& walker, const MimePart& part, std::string_view message,
                std::size_t index) {
  MXRING_ASSERT(part.header_begin <= part.header_end && part.header_end <= part.body_begin);
  MXRING_ASSERT(part.body_begin <= part.body_end && part.body_end <= message.size());
  MXRING_ASSERT((part.parent == kNoPart) == (index == 0));
  if (index > 0) {
    const MimePart& parent = walker.parts()[part.parent];
    MXRING_ASSERT(part.parent < index && parent.depth + 1 == part.depth);
    MXRING_ASSERT(parent.multipart || parent.embedded);
    MXRING_ASSERT(part.header_begin >= parent.body_begin && part.body_end <= parent.body_end);
  }
  for (const HeaderField& field : walker.fields(part)) {
    MXRING_ASSERT(field.name.data() >= message.data() + part.header_begin);
    MXRING_ASSERT(field.value.data() + field.value.size() <= message.data() + part.header_end);
  }
  Count out;
  decode_transfer(part.encoding, walker.body(part), out);
  MXRING_ASSERT(out.size <= walker.body(part).size());
}

void compare_headers(std::string_view message) {
  if (message.find('\n') != std::string_view::npos) {
    for (std::size_t lf = message.find('\n'); lf != std::string_view::npos;
         lf = message.find('\n', lf + 1)) {
      if (lf == 0 || message[lf - 1] != '\r') return;  // the index knows CRLF only
    }
  }
  HeaderIndex index(10'000, 100);
  index.feed(message);
  index.finish();
  if (index.status() != HeaderStatus::kComplete) return;
  std::vector<HeaderField> fields;
  const HeaderSection section = scan_header(message, {10'000, 100}, fields);
  MXRING_ASSERT(fields.size() == index.fields().size());
  for (std::size_t i = 0; i < fields.size(); ++i) {
    MXRING_ASSERT(fields[i].name.data() == message.data() + index.fields()[i].begin);
    MXRING_ASSERT(fields[i].name.size() == index.fields()[i].name_bytes);
  }
  MXRING_ASSERT(section.body_begin == index.body_begin());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view message(reinterpret_cast<const char*>(data), size);
  static CharsetDecoder charsets;
  static MimeWalker walker;
  MimeBudget budget;
  budget.depth_max = size % 2 == 0 ? 3 : 32;
  budget.parts_max = size % 3 == 0 ? 5 : 1000;
  walker.walk(message, budget, charsets);
  MXRING_ASSERT(!walker.parts().empty() && walker.parts().size() <= budget.parts_max);
  for (std::size_t i = 0; i < walker.parts().size(); ++i) {
    const MimePart& part = walker.parts()[i];
    MXRING_ASSERT(part.depth <= budget.depth_max);
    check_part(walker, part, message, i);
    for (const HeaderField& field : walker.fields(part)) {
      std::string text;
      decode_header_text(field.value, charsets, text);
      MXRING_ASSERT(mxring::base::is_valid_utf8(text));
    }
    for (const Parameter& parameter : part.type.parameters) {
      MXRING_ASSERT(mxring::base::is_valid_utf8(parameter.value));
    }
  }
  compare_headers(message);
  return 0;
}
