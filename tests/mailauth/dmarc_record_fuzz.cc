// Any text as a record: what was understood stays within the text, and the rules about defaults
// hold.
#include "base/assert.h"
#include "mailauth/dmarc/record.h"
#include "mailauth/dmarc/report_destination.h"
#include "tests/mailauth/go_seed.h"

namespace {

using namespace mxring::mailauth::dmarc;

void check(const Record& record) {
  MXRING_ASSERT(is_dmarc_record(record.text));
  for (const auto* uris : {&record.aggregate_uris, &record.failure_uris}) {
    for (const Part& part : *uris) {
      MXRING_ASSERT(part.at + part.size <= record.text.size() && part.size != 0);
      const std::string_view uri = record.part(part);
      MXRING_ASSERT(uri.find_first_of("!, ;\t") == std::string_view::npos);
      if (const auto address = report_address(uri)) {
        MXRING_ASSERT(!address->host.empty() && address->address.contains('@'));
        MXRING_ASSERT(address->address.find_first_of("\r\n <>") == std::string::npos);
      }
    }
  }
  if (!record.usable) {
    MXRING_ASSERT(record.aggregate_uris.empty() && record.policy == Policy::kNone);
    MXRING_ASSERT(!record.problem.empty());
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string text = mxring::test::seed_bytes(data, size);
  const auto record = parse(text);
  MXRING_ASSERT(record.has_value() == is_dmarc_record(text));
  if (record) check(*record);
  // Behind a version everything is a record, and says the same wherever it is kept.
  const std::string versioned = "v=DMARC1;" + text;
  const auto behind = parse(versioned);
  MXRING_ASSERT(behind.has_value());
  check(*behind);
  const RecordSet set({versioned});
  MXRING_ASSERT(set.record().policy == behind->policy && set.record().usable == behind->usable);
  // A policy in front that repeats nothing decides, whatever follows, unless a later tag spoils it.
  const auto strict = parse("v=DMARC1; p=reject; rua=mailto:a@example.org;" + text);
  MXRING_ASSERT(strict->usable || strict->aggregate_uris.empty());
  return 0;
}
