#include "cli/mail_text.h"

#include <gtest/gtest.h>

namespace mxring::cli {
namespace {

Record from(std::string_view sender) {
  Record record;
  record.mail_from = sender;
  record.received_at_us = 1'795'309'323'500'000;  // 2026-11-22T01:02:03.5Z, a Sunday
  return record;
}

TEST(MailText, OnlyCrlfBecomesLf) {
  EXPECT_EQ(with_lf("a\r\nb\r\n"), "a\nb\n");
  EXPECT_EQ(with_lf("a\rb\n\r\r\nc\r"), "a\rb\n\r\nc\r");
  EXPECT_EQ(with_lf(""), "");
}

TEST(MailText, MboxQuotesEveryFromLine) {
  EXPECT_EQ(
      mbox_entry(from("a@b.test"),
                 "Subject: x\r\n\r\nFrom here\r\n>From there\r\n>>From far\r\nFrom: no\r\n"
                 " From indented\r\n>>>\r\n"),
      "From a@b.test Sun Nov 22 01:02:03 2026\n"
      "Subject: x\n\n>From here\n>>From there\n>>>From far\nFrom: no\n From indented\n>>>\n\n");
}

TEST(MailText, MboxEntryAlwaysEndsWithAnEmptyLine) {
  EXPECT_EQ(mbox_entry(from("a@b.test"), "no end"),
            "From a@b.test Sun Nov 22 01:02:03 2026\nno end\n\n");
}

TEST(MailText, SenderIsOneWord) {
  EXPECT_TRUE(mbox_entry(from(""), "").starts_with("From MAILER-DAEMON Sun"));
  EXPECT_TRUE(mbox_entry(from("\"a b\nc\"@d.test"), "").starts_with("From \"a_b_c\"@d.test Sun"));
}

}  // namespace
}  // namespace mxring::cli
