// A decoder and a result that have held a message allocate nothing for the next of its size.
#include <gtest/gtest.h>

#include "decode/decode.h"
#include "tests/decode/messages.h"
#include "tests/support/allocation_count.h"

namespace mxring::decode {
namespace {

std::uint64_t allocations(const std::string& message, const Options& options = {}) {
  Decoder decoder;
  Facts facts;
  for (int i = 0; i < 3; ++i) decoder.decode(message, options, facts);
  const std::uint64_t before = test::allocation_count();
  for (int i = 0; i < 20; ++i) decoder.decode(message, options, facts);
  return test::allocation_count() - before;
}

TEST(Allocation, NothingAfterTheFirstMessages) {
  EXPECT_GT(
      [] {
        const std::uint64_t before = test::allocation_count();
        Decoder decoder;
        return test::allocation_count() - before;
      }(),
      0U);  // the count counts
  EXPECT_EQ(allocations(bounce_message(
                "Reporting-MTA: dns; mail.a-rather-long-name.example.org\n\n"
                "Final-Recipient: rfc822; somebody.with.a.long.name@example.com\nAction: failed\n"
                "Status: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user here at all\n")),
            0U);
  const std::string mail = crlf(
      "From: =?iso-2022-jp?b?GyRCJS0lOCVIJWkbKEI=?= <kijitora@example.org>\nTo: a@example.com, "
      "b@example.com\nSubject: =?utf-8?q?a_subject_of_some_length_=C3=A4?=\n"
      "Content-Type: multipart/mixed; boundary=\"----=_NextPart_000_024E_01CC9B0A.AFE54C00\"\n\n"
      "------=_NextPart_000_024E_01CC9B0A.AFE54C00\n"
      "Content-Type: text/plain; charset=\"windows-1252\"\n\ntext \x80\n"
      "------=_NextPart_000_024E_01CC9B0A.AFE54C00\nContent-Type: application/pdf; "
      "name=\"a-file-of-a-longer-name.pdf\"\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n"
      "------=_NextPart_000_024E_01CC9B0A.AFE54C00--\n");
  EXPECT_EQ(allocations(mail), 0U);
  EXPECT_EQ(allocations(report_mail("application/gzip", "a.xml.gz", gzip(dmarc_xml(500)))), 0U);
  EXPECT_EQ(allocations(report_mail("application/zip", "a.zip", zip_entry({dmarc_xml(5)}))), 0U);
  EXPECT_EQ(allocations(report_mail("application/tlsrpt+json", "a.json",
                                    "{\"report-id\":\"a report of a long name\",\"policies\":[]}")),
            0U);
}

}  // namespace
}  // namespace mxring::decode
