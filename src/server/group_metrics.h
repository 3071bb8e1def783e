// The lag of the log's groups as metrics.
//
// Thread: any.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "server/group_facts.h"

namespace mxring::server {

// Appends mxring_group_lag_records, _lag_bytes, _held_bytes, _lag_seconds, _stopped, _running,
// _dead and _dropped_total, one line a group. `dropped`: records that groups have lost because they
// may hold no more.
void append_group_metrics(std::string& out, const std::vector<GroupFacts>& groups,
                          const std::map<std::string, std::uint64_t>& dropped);

}  // namespace mxring::server
