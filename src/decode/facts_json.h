// Facts as JSON; JSON.md says what each key means.
#pragma once

#include "base/json.h"
#include "decode/facts.h"

namespace mxring::decode {

// One object, the value of nothing: `{"type":...}`.
void write_json(const Facts& facts, base::JsonWriter& json);
// Members only, into an object that the caller has open.
void write_json_members(const Facts& facts, base::JsonWriter& json);

std::string time_text(std::int64_t seconds);  // "2026-11-22T01:02:03Z"

}  // namespace mxring::decode
