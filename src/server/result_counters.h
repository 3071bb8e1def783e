// Counts what became of messages: results of SPF, DKIM and DMARC, and refusals by their reply.
// Nothing here allocates.
//
// Thread: the owner of the counter set.
#pragma once

#include <string_view>

#include "mailauth/evaluation.h"
#include "obs/counters.h"
#include "server/config.h"

namespace mxring::server {

// A concluded evaluation, of the methods that are on.
void count_results(obs::CounterSet& counters, const mailauth::Evaluation& evaluation,
                   const Config::Auth& methods);

// A reply that begins with 4 or 5 ("552 5.3.4 Message too large"); others are no refusals.
void count_refusal(obs::CounterSet& counters, std::string_view reply);

}  // namespace mxring::server
