// The mail that carries a report (RFC 9990 3.5): a few words for people, and the gzipped XML as an
// attachment with the media type application/gzip. Lines end in CRLF. Pure; time is an argument.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "report/delivery_sheet.h"

namespace mxring::report {

struct Attachment {
  std::string_view file_name;
  std::string_view bytes;
};

// One destination's copy; unsigned. The same report to the same address always has the same
// Message-ID, so that a second delivery can be recognised.
std::string compose_report(const DeliverySheet& sheet, std::string_view address,
                           const Attachment& attachment, std::int64_t now_unix_s);

}  // namespace mxring::report
