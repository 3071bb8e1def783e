// Whether a receiver's own figures add up, once it has drained: everything that came in has gone
// out, each message committed is one answered, and in peace each refusal counted is one heard.
#pragma once

#include "server/server.h"
#include "tests/sim/client.h"

namespace mxring::sim {

// `calm`: every client heard all that was said to it since the ledger was told of this process.
void judge_counters(const server::Server& server, const Ledger& ledger, bool calm);

}  // namespace mxring::sim
