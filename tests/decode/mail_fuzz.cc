// Any bytes as a message.
#include <cstdint>

#include "tests/decode/fuzz_check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mxring::decode;
  const std::string_view message(reinterpret_cast<const char*>(data), size);
  check_decode(message);
  // Small budgets are hit.
  Options options;
  options.budget.mime.depth_max = 2;
  options.budget.mime.parts_max = 4;
  options.budget.mime.message_header = {200, 5};
  options.budget.mime.part_header = {100, 3};
  options.budget.mime.fields_max = 10;
  options.budget.decoded_bytes = 64;
  options.budget.recipients = 2;
  options.budget.addresses = 2;
  options.budget.rows = 1;
  options.budget.xml_depth = 4;
  options.budget.notes = 2;
  options.content_bytes = 32;
  check_decode(message, options);
  for (const Kind kind : {Kind::kMail, Kind::kBounce, Kind::kComplaint, Kind::kDmarcReport,
                          Kind::kTlsReport, Kind::kJournalReport}) {
    options = {};
    options.as = kind;
    const Kind got = check_decode(message, options);
    MXRING_ASSERT(got == kind || got == Kind::kMail);
  }
  return 0;
}
