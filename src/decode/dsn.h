// Bounces: delivery status notifications (RFC 3464) and their internationalized form (RFC 6533),
// found by the status part and not by the type around it, which real mailers get wrong.
#pragma once

#include <array>

#include "decode/field_rules.h"

namespace mxring::decode {

inline constexpr std::array<FieldRule<Bounce>, 5> kBounceFields{{
    {"Reporting-MTA", Shape::kTyped, &Bounce::reporting_mta, &Bounce::reporting_mta_type},
    {"DSN-Gateway", Shape::kTyped, &Bounce::dsn_gateway, &Bounce::dsn_gateway_type},
    {"Received-From-MTA", Shape::kTyped, &Bounce::received_from_mta,
     &Bounce::received_from_mta_type},
    {"Original-Envelope-Id", Shape::kText, &Bounce::original_envelope_id},
    {"Arrival-Date", Shape::kTime, nullptr, nullptr, &Bounce::arrival_date},
}};

inline constexpr std::array<FieldRule<BounceRecipient>, 9> kRecipientFields{{
    {"Final-Recipient", Shape::kTyped, &BounceRecipient::final_recipient,
     &BounceRecipient::final_recipient_type},
    {"Original-Recipient", Shape::kTyped, &BounceRecipient::original_recipient,
     &BounceRecipient::original_recipient_type},
    {"Action", Shape::kWord, &BounceRecipient::action},
    {"Status", Shape::kCode, &BounceRecipient::status},
    {"Diagnostic-Code", Shape::kTyped, &BounceRecipient::diagnostic_code,
     &BounceRecipient::diagnostic_code_type},
    {"Remote-MTA", Shape::kTyped, &BounceRecipient::remote_mta, &BounceRecipient::remote_mta_type},
    {"Last-Attempt-Date", Shape::kTime, nullptr, nullptr, &BounceRecipient::last_attempt_date},
    {"Will-Retry-Until", Shape::kTime, nullptr, nullptr, &BounceRecipient::will_retry_until},
    {"Final-Log-ID", Shape::kText, &BounceRecipient::final_log_id},
}};

// The part of the message itself that is a delivery status; kNoPart when there is none.
std::uint32_t find_status_part(const mail::MimeWalker& walker);

void read_bounce(Context& context, std::uint32_t part);

}  // namespace mxring::decode
