// The report itself: XML after the schema of RFC 9990, appendix A (namespace dmarc-2.0). The same
// input gives the same bytes.
//
// Values from the network are escaped; what XML 1.0 cannot hold at all (control characters, bytes
// that are not UTF-8) becomes U+FFFD. Pure.
#pragma once

#include <string>
#include <string_view>

#include "mailauth/dmarc/record.h"
#include "report/aggregate.h"
#include "report/report_name.h"

namespace mxring::report {

struct Reporter {
  std::string organization;  // a name for people
  std::string email;         // whom to ask about the report
  std::string submitter;     // the receiver's domain
  std::string generator;     // program and version
};

// The identifier made from everything else in the report.
std::string identify(const Reporter& reporter, const Period& period, std::string_view policy_domain,
                     const mailauth::dmarc::Record& policy, const DomainAggregate& sum);

std::string feedback_xml(const Reporter& reporter, const Period& period, std::string_view id,
                         std::string_view policy_domain, const mailauth::dmarc::Record& policy,
                         const DomainAggregate& sum);

void append_xml_text(std::string& out, std::string_view text);

}  // namespace mxring::report
