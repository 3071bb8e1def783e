// GZIP (RFC 1952), which reports are compressed with. No time and no name in its header: the same
// input gives the same bytes. The one user of zlib.
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace mxring::report {

// The error says why: memory, or more than zlib takes at once.
std::expected<std::string, std::string_view> gzip(std::string_view bytes);

}  // namespace mxring::report
