// Names of a report (RFC 9990 3.5): its identifier, its file, the Subject of the mail that carries
// it. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mxring::report {

struct Period {
  std::int64_t begin_s = 0;  // Unix time
  std::int64_t end_s = 0;    // the last second that belongs to it
};

// Letters and digits only, so that it fits into a file name as unique-id, and the same wherever it
// appears. Made from the content: the same report built again has the same name, another one about
// the same day has not.
std::string report_id(std::string_view content);

// RECEIVER!POLICYDOMAIN!BEGIN!END!ID.xml.gz
std::string file_name(std::string_view receiver, std::string_view policy_domain,
                      const Period& period, std::string_view id);

// The field with its CRLF, folded as the standard's example is.
std::string subject_field(std::string_view policy_domain, std::string_view submitter,
                          std::string_view id);

}  // namespace mxring::report
