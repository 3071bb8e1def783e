// Messages in the shapes that other programs store them in. Pure.
#pragma once

#include <mxring/record.h>

#include <string>
#include <string_view>

namespace mxring::cli {

// CRLF becomes LF; other bytes stay.
std::string with_lf(std::string_view message);

// One entry of an mboxrd file: the "From " line, the message with LF line ends in which every line
// of '>'s and "From " gets one more '>', and an empty line.
std::string mbox_entry(const Record& record, std::string_view message);

}  // namespace mxring::cli
