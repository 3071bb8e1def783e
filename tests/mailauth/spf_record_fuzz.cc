// SPF records: the parts lie inside the text, and the record written again from its parts is the
// same record.
#include <cstdint>
#include <string>

#include "base/assert.h"
#include "mailauth/spf/macro.h"
#include "mailauth/spf/record.h"
#include "tests/mailauth/go_seed.h"

namespace {

using namespace mxring::mailauth;
using namespace mxring::mailauth::spf;

char qualifier_of(Result result) {
  switch (result) {
    case Result::kFail:
      return '-';
    case Result::kSoftfail:
      return '~';
    case Result::kNeutral:
      return '?';
    default:
      return '+';
  }
}

std::string written(const Record& record) {
  std::string text = "v=spf1";
  for (const Term& term : record.terms) {
    text += ' ';
    text += qualifier_of(term.result);
    text += record.part(term.text);
  }
  if (record.redirect) text += " redirect=" + std::string(record.part(*record.redirect));
  if (record.explanation) text += " exp=" + std::string(record.part(*record.explanation));
  return text;
}

void check(const Record& record) {
  for (const Term& term : record.terms) {
    MXRING_ASSERT(term.prefix4_bits <= 32 && term.prefix6_bits <= 128);
    MXRING_ASSERT(term.text.size != 0);
    MXRING_ASSERT(std::size_t{term.text.at} + term.text.size <= record.text.size());
    MXRING_ASSERT(std::size_t{term.spec.at} + term.spec.size <= record.text.size());
    if (term.spec.size != 0) MXRING_ASSERT(is_domain_spec(record.part(term.spec)));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text = mxring::test::seed_bytes(data, size);
  while (text.ends_with('\n')) text.pop_back();
  const auto record = parse(text);
  if (!record) {
    MXRING_ASSERT(!record.error().what.empty());
    return 0;
  }
  check(*record);
  const auto again = parse(written(*record));
  MXRING_ASSERT(again && again->terms.size() == record->terms.size());
  for (std::size_t i = 0; i < record->terms.size(); ++i) {
    const Term& a = record->terms[i];
    const Term& b = again->terms[i];
    MXRING_ASSERT(a.mechanism == b.mechanism && a.result == b.result && a.network == b.network);
    MXRING_ASSERT(a.prefix4_bits == b.prefix4_bits && a.prefix6_bits == b.prefix6_bits);
    MXRING_ASSERT(record->part(a.spec) == again->part(b.spec));
  }
  MXRING_ASSERT(written(*again) == written(*record));
  return 0;
}
