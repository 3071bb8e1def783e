// Where a domain may have its reports sent (RFC 9990 4): to addresses of its own organization, or
// to those whose owner says in DNS that it takes them.
//
// Pure. The walk that finds both organizational domains is dmarc::Evaluator's.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "dns/question.h"
#include "dns/record.h"

namespace mxring::mailauth::dmarc {

struct ReportAddress {
  std::string address;  // local part and domain, ready for RCPT TO
  std::string host;     // its domain, in lower-case A-labels
};

// The address in a mailto URI of a record's rua or ruf, escapes undone, "?subject=..." left out.
// Nothing for other schemes, and for what is no single address.
std::optional<ReportAddress> report_address(std::string_view uri);

// POLICYDOMAIN._report._dmarc.HOST. Nothing when that is too long for a name: then the destination
// does not take the reports.
std::optional<dns::Question> destination_question(std::string_view policy_domain,
                                                  std::string_view host);
// Whether the answer to it says that it does. A failure to answer is no yes.
bool takes_reports(const dns::Answer& answer);

}  // namespace mxring::mailauth::dmarc
