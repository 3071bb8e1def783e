// The mail around a report.
#include "report/report_message.h"

#include <gtest/gtest.h>

#include "base/base64.h"

namespace mxring::report {
namespace {

DeliverySheet sample_sheet() {
  DeliverySheet sheet;
  sheet.policy_domain = "example.org";
  sheet.report_id = "0123abcd";
  sheet.submitter = "mx.example";
  sheet.organization = "Example \"M\" Inc";
  sheet.email = "dmarc@mx.example";
  sheet.period = {1'795'305'600, 1'795'391'999};
  return sheet;
}

constexpr std::string_view kName = "mx.example!example.org!1!2!0123abcd.xml.gz";

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

TEST(ReportMessageTest, FieldsAndParts) {
  const std::string bytes = "\x1f\x8b" + std::string(200, '\xA5');
  const std::string mail =
      compose_report(sample_sheet(), "d@example.net", {kName, bytes}, 1'795'305'600);
  EXPECT_TRUE(
      mail.starts_with("From: \"Example \\\"M\\\" Inc\"\r\n <dmarc@mx.example>\r\n"
                       "To: <d@example.net>\r\n"
                       "Subject: Report Domain: example.org\r\n Submitter: mx.example\r\n"
                       " Report-ID: 0123abcd\r\n"
                       "Date: Sun, 22 Nov 2026 00:00:00 +0000\r\n"))
      << mail;
  EXPECT_TRUE(has(mail, "Content-Type: application/gzip;"));
  EXPECT_TRUE(has(mail, "filename=\"" + std::string(kName) + "\"\r\n"));
  EXPECT_TRUE(has(mail, "Auto-Submitted: auto-generated\r\n"));
  const std::size_t begin = mail.find("\r\n\r\n", mail.find("filename=")) + 4;
  std::string decoded;
  ASSERT_TRUE(base::decode_base64(mail.substr(begin, mail.find("\r\n--", begin) - begin),
                                  base::Base64::kFolded, decoded));
  EXPECT_EQ(decoded, bytes);
}

TEST(ReportMessageTest, LinesAreWholeAndShort) {
  const std::string mail =
      compose_report(sample_sheet(), "d@example.net", {kName, std::string(5000, 'x')}, 0);
  std::size_t at = 0;
  while (at < mail.size()) {
    const std::size_t end = mail.find("\r\n", at);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - at, 120U);
    EXPECT_EQ(mail.substr(at, end - at).find_first_of("\r\n"), std::string::npos);
    at = end + 2;
  }
}

TEST(ReportMessageTest, OneMessageIdForEachAddress) {
  const auto id = [](std::string_view address, std::int64_t when) {
    const std::string mail = compose_report(sample_sheet(), address, {kName, "x"}, when);
    const std::size_t at = mail.find("Message-ID:");
    return mail.substr(at, mail.find("\r\n", at) - at);
  };
  EXPECT_TRUE(has(id("a@example.net", 0), "<0123abcd."));
  EXPECT_TRUE(id("a@example.net", 0).ends_with("@mx.example>"));
  EXPECT_EQ(id("a@example.net", 0), id("a@example.net", 99'999));
  EXPECT_NE(id("a@example.net", 0), id("b@example.net", 0));
}

TEST(ReportMessageTest, NamesBeyondAsciiAreEncoded) {
  DeliverySheet sheet = sample_sheet();
  sheet.organization = "S\u00f6hne und T\u00f6chter f\u00fcr E-Mail\r\nBcc: victim@example.org";
  const std::string mail = compose_report(sheet, "a@example.net", {kName, "x"}, 0);
  EXPECT_FALSE(has(mail, "\nBcc"));
  std::string name;
  std::size_t at = 0;
  while ((at = mail.find("=?utf-8?B?", at)) != std::string::npos) {
    at += 10;
    std::string piece;
    ASSERT_TRUE(base::decode_base64(mail.substr(at, mail.find("?=", at) - at),
                                    base::Base64::kStrict, piece));
    name += piece;
  }
  EXPECT_EQ(name, sheet.organization);
}

}  // namespace
}  // namespace mxring::report
