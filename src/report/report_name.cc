#include "report/report_name.h"

#include <fmt/format.h>

#include "crypto/sha256.h"

namespace mxring::report {

namespace {

constexpr std::size_t kIdBytes = 24;  // 96 bits of the digest

}  // namespace

std::string report_id(std::string_view content) {
  return crypto::to_hex(crypto::sha256(content)).substr(0, kIdBytes);
}

std::string file_name(std::string_view receiver, std::string_view policy_domain,
                      const Period& period, std::string_view id) {
  return fmt::format("{}!{}!{}!{}!{}.xml.gz", receiver, policy_domain, period.begin_s, period.end_s,
                     id);
}

std::string subject_field(std::string_view policy_domain, std::string_view submitter,
                          std::string_view id) {
  return fmt::format("Subject: Report Domain: {}\r\n Submitter: {}\r\n Report-ID: {}\r\n",
                     policy_domain, submitter, id);
}

}  // namespace mxring::report
