// Tag lists: every part lies inside the text, names are unique, and the list written again from its
// parts is the same list. Signature fields are read from the same bytes.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/assert.h"
#include "mailauth/dkim/signature.h"
#include "mailauth/dkim/tag_list.h"

namespace {

using namespace mxring::mailauth::dkim;

bool inside(std::string_view whole, std::string_view part) {
  return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

void check_tags(std::string_view text) {
  std::vector<Tag> tags;
  if (const auto error = parse_tag_list(text, tags)) {
    MXRING_ASSERT(!error->what.empty());
    return;
  }
  MXRING_ASSERT(!tags.empty() && tags.size() <= kTagsMax);
  std::string written;
  for (const Tag& tag : tags) {
    MXRING_ASSERT(!tag.name.empty() && inside(text, tag.name) && inside(text, tag.raw));
    MXRING_ASSERT(inside(tag.raw, tag.value) && trimmed(tag.raw) == tag.value);
    MXRING_ASSERT(find_tag(tags, tag.name) == &tag);
    written += std::string(tag.name) + "=" + std::string(tag.value) + ";";
  }
  std::vector<Tag> again;
  MXRING_ASSERT(!parse_tag_list(written, again) && again.size() == tags.size());
  for (std::size_t i = 0; i < tags.size(); ++i) {
    MXRING_ASSERT(again[i].name == tags[i].name && again[i].value == tags[i].value);
  }
}

void check_signature(std::string_view text) {
  SignatureParser parser;
  Signature signature;
  std::string bytes;
  if (const auto problem = parser.parse(text, signature, bytes)) {
    MXRING_ASSERT(!problem->what.empty() && problem->result != mxring::mailauth::Result::kPass);
    return;
  }
  MXRING_ASSERT(!bytes.empty() && signature.domain.labels() >= 2 && !signature.selector.is_root());
  MXRING_ASSERT(inside(text, signature.signature_raw) && inside(text, signature.signed_fields));
  MXRING_ASSERT(signature.domain.is_host_name() && signature.selector.is_host_name());
  MXRING_ASSERT(list_contains(signature.signed_fields, "from"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::vector<char> exact(data, data + size);
  const std::string_view text(exact.data(), exact.size());
  check_tags(text);
  check_signature(text);
  return 0;
}
