// What `mxring decode` says to a person. Every text from the message is escaped.
#pragma once

#include <string>

#include "decode/facts.h"

namespace mxring::cli {

std::string facts_text(const decode::Facts& facts);

}  // namespace mxring::cli
