// A record of the log as text: the JSON object that other programs rely on, and the listing for
// people. Everything that came from the network is escaped in both.
#pragma once

#include <mxring/record.h>

#include <string>

#include "base/json.h"
#include "decode/record_json.h"

namespace mxring::cli {

using decode::header_facts;
using decode::HeaderFacts;
using decode::write_members;

// The whole object on one line, with its newline.
std::string record_json(const Record& record);
// A few lines for a person.
std::string record_listing(const Record& record, bool colour);

}  // namespace mxring::cli
