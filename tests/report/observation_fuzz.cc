// A record's verdicts from any bytes: three JSON values, one to a line, are read or refused with a
// reason, and what was read fits the limits and makes a report of sane XML.
#include <cstdint>
#include <string_view>

#include "base/assert.h"
#include "base/text.h"
#include "report/feedback_xml.h"
#include "report/observation.h"

namespace {

using namespace mxring;

std::string_view line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view first = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return first;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view text(reinterpret_cast<const char*>(data), size);
  Record record;
  record.client_ip = "192.0.2.1";
  record.disposition = line(text);
  record.dmarc = line(text);
  record.spf = line(text);
  record.dkim = line(text);
  record.mail_from = line(text);
  auto seen = report::observe(record);
  if (!seen) {
    MXRING_ASSERT(!seen.error().empty());
    return 0;
  }
  if (!*seen) return 0;
  const report::Row row = (*seen)->row;
  MXRING_ASSERT(row.header_from.size() <= report::kNameBytesMax);
  MXRING_ASSERT(row.signatures.size() <= report::kSignaturesMax);
  MXRING_ASSERT(!(*seen)->policy_domain.empty() && !(*seen)->policy_record.empty());
  const auto policy = mailauth::dmarc::parse((*seen)->policy_record);
  const std::string domain = (*seen)->policy_domain;
  report::Aggregator sums;
  sums.add(std::move(**seen));
  const std::string xml =
      report::feedback_xml({"x", "x@x.test", "x.test", "x"}, {0, 1}, "id", domain,
                           policy.value_or(mailauth::dmarc::Record{}), sums.domains().at(domain));
  MXRING_ASSERT(base::is_valid_utf8(xml));
  for (const char c : xml) {
    MXRING_ASSERT(static_cast<unsigned char>(c) >= 0x20 || c == '\n' || c == '\t');
  }
  return 0;
}
