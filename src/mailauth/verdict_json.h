// Verdicts as JSON: in a record of the log and on the command line alike. Pure; each function
// writes one value.
#pragma once

#include <span>

#include "base/json.h"
#include "mailauth/arc/verifier.h"
#include "mailauth/dkim/verifier.h"
#include "mailauth/dmarc/evaluator.h"
#include "mailauth/spf/evaluator.h"

namespace mxring::mailauth {

void write_spf(base::JsonWriter& json, const spf::Outcome& outcome);
void write_dkim(base::JsonWriter& json, std::span<const dkim::SignatureResult> signatures);
void write_arc(base::JsonWriter& json, const arc::Outcome& outcome);
void write_dmarc(base::JsonWriter& json, const dmarc::Outcome& outcome);

}  // namespace mxring::mailauth
