// A record of the log as JSON, for every program that hands records on: `log cat --json`, exports,
// dead letters and what is sent elsewhere. The keys are those of src/cli/JSON.md. Pure.
#pragma once

#include <mxring/record.h>

#include <string>

#include "base/json.h"

namespace mxring::decode {

// What a message is looked for by; of records older than these, read from the message itself.
struct HeaderFacts {
  std::string message_id;
  std::string from;
  std::string subject;
  std::string queue_id;
};
HeaderFacts header_facts(const Record& record);

// The members of the record's object, without the braces, so that a caller can add its own.
void write_members(base::JsonWriter& json, const Record& record);

}  // namespace mxring::decode
