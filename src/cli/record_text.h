// A record of the log as text: the JSON object that other programs rely on, and the listing for
// people. Everything that came from the network is escaped in both.
#pragma once

#include <mxring/record.h>

#include <string>

#include "base/json.h"

namespace mxring::cli {

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
// The whole object on one line, with its newline.
std::string record_json(const Record& record);
// A few lines for a person.
std::string record_listing(const Record& record, bool colour);

}  // namespace mxring::cli
