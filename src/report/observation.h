// One record of the log as DMARC reports see it. The record's verdict is JSON that a server wrote,
// perhaps of another version, perhaps damaged: it is read strictly, and what does not fit is an
// error with a reason, never a guess.
//
// Pure, on any thread. The result owns its text.
#pragma once

#include <mxring/record.h>

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "report/row.h"

namespace mxring::report {

constexpr std::size_t kVerdictBytesMax = 256 * 1024;  // of one JSON value
constexpr std::size_t kNameBytesMax = 1024;           // of a domain or a selector in it
// RFC 9990 3.1.3: no more for one row.
constexpr std::size_t kSignaturesMax = 100;

struct Observation {
  std::string policy_domain;  // where the policy record was found
  std::string policy_record;  // its text
  Row row;
};

// Nothing when DMARC was not evaluated or no policy record was found: nobody to report to. The
// error is a constant that says what is wrong.
std::expected<std::optional<Observation>, std::string_view> observe(const Record& record);

}  // namespace mxring::report
