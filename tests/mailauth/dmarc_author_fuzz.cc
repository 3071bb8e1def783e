// Any text as a header section: at most one author domain comes out, it is a name that DNS can be
// asked about or an address literal, and the same field alone gives the same.
#include "base/assert.h"
#include "base/limits.h"
#include "dns/name.h"
#include "mailauth/dmarc/author.h"
#include "tests/mailauth/go_seed.h"

namespace {

using namespace mxring;
using namespace mxring::mailauth::dmarc;

void check_domain(std::string_view domain) {
  if (domain.starts_with('[')) {
    MXRING_ASSERT(domain.ends_with(']'));
    return;
  }
  const auto name = dns::Name::parse(domain);
  MXRING_ASSERT(name && name->is_host_name());
  MXRING_ASSERT(name->to_text() == domain);  // lower case, no dot at the end
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text = test::seed_bytes(data, size);
  static AuthorScratch scratch;
  const base::Limits limits;
  mail::HeaderIndex index(limits.header_bytes, limits.header_fields);
  index.feed(text);
  index.finish();
  const auto found = find_author_domain(text, index.fields(), scratch);
  MXRING_ASSERT(index.count(mail::FieldName::kFrom) == 1 || !found);
  if (found) check_domain(*found);

  const auto alone = parse_author_domain(text, scratch);
  if (!alone) {
    MXRING_ASSERT(!describe(alone.error()).empty());
    return 0;
  }
  const std::string domain(*alone);
  check_domain(domain);
  // A second address makes it ambiguous, unless it is the same again.
  MXRING_ASSERT(!parse_author_domain(text + ",a@example.org", scratch));
  const auto second = parse_author_domain(text + "<a@example.org>", scratch);
  // (A single label or a number is nobody: as if only the second were there.)
  const std::size_t dot = domain.rfind('.');
  const bool nobody = dot == std::string::npos ||
                      domain.find_first_not_of("0123456789", dot + 1) == std::string::npos;
  MXRING_ASSERT(!second || *second == domain || nobody);
  // White space and a comment around it change nothing; with a comment it has to be strict syntax.
  const auto spaced = parse_author_domain(" " + text + "\t", scratch);
  MXRING_ASSERT(spaced && *spaced == domain);
  const bool strict = mail::parse_single_mailbox(text).has_value();
  const auto wrapped = parse_author_domain("(x) " + text + " (y)", scratch);
  MXRING_ASSERT(wrapped ? *wrapped == domain : !strict);
  return 0;
}
