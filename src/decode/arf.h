// Complaints: feedback reports (RFC 5965) with the fields of RFC 6430, 6591, 6650 and 9477. Sparse
// ones are completed from the message complained of; each such field is in Facts::derived.
#pragma once

#include <array>

#include "decode/field_rules.h"

namespace mxring::decode {

inline constexpr std::array<FieldRule<Complaint>, 23> kComplaintFields{{
    {"Feedback-Type", Shape::kWord, &Complaint::feedback_type},
    {"User-Agent", Shape::kText, &Complaint::user_agent},
    {"Version", Shape::kText, &Complaint::version},
    {"Original-Envelope-Id", Shape::kText, &Complaint::original_envelope_id},
    {"Original-Mail-From", Shape::kAddress, &Complaint::original_mail_from},
    {"Arrival-Date", Shape::kTime, nullptr, nullptr, &Complaint::arrival_date},
    {"Reporting-MTA", Shape::kTyped, &Complaint::reporting_mta, &Complaint::reporting_mta_type},
    {"Source-IP", Shape::kCode, &Complaint::source_ip},
    {"Source-Port", Shape::kCode, &Complaint::source_port},
    {"Incidents", Shape::kCode, &Complaint::incidents},
    {"Auth-Failure", Shape::kWord, &Complaint::auth_failure},
    {"Delivery-Result", Shape::kWord, &Complaint::delivery_result},
    {"Identity-Alignment", Shape::kWord, &Complaint::identity_alignment},
    {"DKIM-Domain", Shape::kText, &Complaint::dkim_domain},
    {"DKIM-Identity", Shape::kText, &Complaint::dkim_identity},
    {"DKIM-Selector", Shape::kText, &Complaint::dkim_selector},
    {"DKIM-Selector-DNS", Shape::kText, &Complaint::dkim_selector_dns},
    {"DKIM-ADSP-DNS", Shape::kText, &Complaint::dkim_adsp_dns},
    {"DKIM-Canonicalized-Header", Shape::kBase64, &Complaint::dkim_canonicalized_header},
    {"DKIM-Canonicalized-Body", Shape::kBase64, &Complaint::dkim_canonicalized_body},
    {"CFBL-Address", Shape::kText, &Complaint::cfbl_address},
    {"CFBL-Feedback-ID", Shape::kText, &Complaint::cfbl_feedback_id},
    {"Received-Date", Shape::kTime, nullptr, nullptr, &Complaint::arrival_date},
}};

struct ComplaintList {
  std::string_view name;
  Shape shape = Shape::kText;
  List<Text> Complaint::*list = nullptr;
};
inline constexpr std::array<ComplaintList, 6> kComplaintLists{{
    {"Original-Rcpt-To", Shape::kAddress, &Complaint::original_rcpt_to},
    {"Authentication-Results", Shape::kText, &Complaint::authentication_results},
    {"Reported-Domain", Shape::kText, &Complaint::reported_domain},
    {"Reported-URI", Shape::kText, &Complaint::reported_uri},
    {"Removal-Recipient", Shape::kAddress, &Complaint::removal_recipient},
    {"SPF-DNS", Shape::kText, &Complaint::spf_dns},
}};

// The part of the message itself that is a feedback report; kNoPart when there is none.
std::uint32_t find_feedback_part(const mail::MimeWalker& walker);

void read_complaint(Context& context, std::uint32_t part);
// A complaint without a machine-readable part, as Microsoft sends them: a message in the message
// that bears its X-HmXmrOriginalRecipient. False: it is none.
bool read_bare_complaint(Context& context);

}  // namespace mxring::decode
