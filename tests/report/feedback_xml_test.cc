// The report's text, its names, and that zlib gives it back.
#include "report/feedback_xml.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <array>

#include "report/gzip.h"

namespace mxring::report {
namespace {

const Reporter kReporter{"Example & Sons", "dmarc@mx.example", "mx.example", "mxring test"};
const Period kPeriod{1'795'305'600, 1'795'391'999};

Row sample_row() {
  Row row;
  row.source_ip = "192.0.2.1";
  row.header_from = "example.org";
  row.envelope_from = "bounce.example.org";
  row.action = Action::kQuarantine;
  row.overridden = {.local_policy = true, .test_mode = true, .undecided = true};
  row.spf_domain = "bounce.example.org";
  row.spf_result = "softfail";
  row.signatures = {{"example.org", "s<1>", "fail"}, {"b.test", "s2", "pass"}};
  row.dkim_aligned = true;
  return row;
}

std::string sample_report(std::string_view policy, const DomainAggregate& sum) {
  return feedback_xml(kReporter, kPeriod, "0123abcd", "example.org",
                      *mailauth::dmarc::parse(policy), sum);
}

constexpr std::string_view kExpected = R"(<?xml version="1.0" encoding="UTF-8"?>
<feedback xmlns="urn:ietf:params:xml:ns:dmarc-2.0">
<version>1.0</version>
<report_metadata>
  <org_name>Example &amp; Sons</org_name>
  <email>dmarc@mx.example</email>
  <report_id>0123abcd</report_id>
  <date_range>
    <begin>1795305600</begin>
    <end>1795391999</end>
  </date_range>
  <error>2 of 9 messages are left out: too many different rows</error>
  <generator>mxring test</generator>
</report_metadata>
<policy_published>
  <domain>example.org</domain>
  <discovery_method>treewalk</discovery_method>
  <p>reject</p>
  <sp>quarantine</sp>
  <np>quarantine</np>
  <fo>1:d</fo>
  <adkim>s</adkim>
  <aspf>r</aspf>
  <testing>y</testing>
</policy_published>
<record>
  <row>
    <source_ip>192.0.2.1</source_ip>
    <count>7</count>
    <policy_evaluated>
      <disposition>quarantine</disposition>
      <dkim>pass</dkim>
      <spf>fail</spf>
      <reason>
        <type>policy_test_mode</type>
        <comment>t=y asks for one level less than published</comment>
      </reason>
      <reason>
        <type>local_policy</type>
        <comment>the receiver&apos;s settings for this policy</comment>
      </reason>
      <reason>
        <type>other</type>
        <comment>an answer could not be had from DNS; nothing was applied</comment>
      </reason>
    </policy_evaluated>
  </row>
  <identifiers>
    <header_from>example.org</header_from>
    <envelope_from>bounce.example.org</envelope_from>
  </identifiers>
  <auth_results>
    <dkim>
      <domain>example.org</domain>
      <selector>s&lt;1&gt;</selector>
      <result>fail</result>
    </dkim>
    <dkim>
      <domain>b.test</domain>
      <selector>s2</selector>
      <result>pass</result>
    </dkim>
    <spf>
      <domain>bounce.example.org</domain>
      <scope>mfrom</scope>
      <result>softfail</result>
    </spf>
  </auth_results>
</record>
</feedback>
)";

TEST(FeedbackXmlTest, EveryElementInItsPlace) {
  DomainAggregate sum;
  sum.rows[sample_row()] = 7;
  sum.messages = 9;
  sum.left_out = 2;
  EXPECT_EQ(sample_report("v=DMARC1; p=reject; sp=quarantine; fo=1:d; adkim=s; t=y; "
                          "ruf=mailto:f@example.org; rua=mailto:a@example.org",
                          sum),
            kExpected);
}

TEST(FeedbackXmlTest, DefaultsAreWritten) {
  DomainAggregate sum;
  sum.rows[Row{}] = 1;
  const std::string xml = sample_report("v=DMARC1; p=none; rua=mailto:a@example.org", sum);
  for (const char* text : {"<sp>none</sp>", "<np>none</np>", "<fo>0</fo>", "<adkim>r</adkim>",
                           "<testing>n</testing>", "<envelope_from></envelope_from>"}) {
    EXPECT_NE(xml.find(text), std::string::npos) << text;
  }
  EXPECT_EQ(xml.find("<spf>\n"), std::string::npos);  // it was not looked at
  EXPECT_EQ(xml.find("<error>"), std::string::npos);
}

TEST(FeedbackXmlTest, RowsAreInOrderWhateverOrderTheyCameIn) {
  DomainAggregate forwards;
  DomainAggregate backwards;
  for (int i = 0; i < 9; ++i) {
    Row row = sample_row();
    row.source_ip = "192.0.2." + std::to_string(i);
    forwards.rows[row] = 1;
    row.source_ip = "192.0.2." + std::to_string(8 - i);
    backwards.rows[row] = 1;
  }
  EXPECT_EQ(sample_report("v=DMARC1; p=none", forwards),
            sample_report("v=DMARC1; p=none", backwards));
}

TEST(FeedbackXmlTest, WhatXmlCannotHold) {
  const auto escaped = [](std::string_view text) {
    std::string out;
    append_xml_text(out, text);
    return out;
  };
  EXPECT_EQ(escaped("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&apos;");
  EXPECT_EQ(escaped("]]>"), "]]&gt;");
  EXPECT_EQ(escaped(std::string_view("a\0b\x1B\x7F", 5)), "a\uFFFDb\uFFFD\x7F");
  EXPECT_EQ(escaped("\t\n\r"), "\t\n&#13;");
  EXPECT_EQ(escaped("k\u00f6ln \U0001F600"), "k\u00f6ln \U0001F600");
  EXPECT_EQ(escaped("\xFF\xC3(\xED\xA0\x80"), "\uFFFD\uFFFD(\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(escaped("\uFFFE\uFFFF"), "\uFFFD\uFFFD");
}

TEST(FeedbackXmlTest, TheIdentifierFollowsTheContent) {
  DomainAggregate sum;
  sum.rows[sample_row()] = 1;
  const auto policy = *mailauth::dmarc::parse("v=DMARC1; p=none");
  const std::string id = identify(kReporter, kPeriod, "example.org", policy, sum);
  EXPECT_EQ(id.size(), 24U);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_EQ(identify(kReporter, kPeriod, "example.org", policy, sum), id);
  EXPECT_NE(identify(kReporter, kPeriod, "example.net", policy, sum), id);
  sum.rows[sample_row()] = 2;
  EXPECT_NE(identify(kReporter, kPeriod, "example.org", policy, sum), id);
}

TEST(ReportNameTest, FileAndSubject) {
  EXPECT_EQ(file_name("mx.example", "example.org", kPeriod, "0123abcd"),
            "mx.example!example.org!1795305600!1795391999!0123abcd.xml.gz");
  EXPECT_EQ(subject_field("example.org", "mx.example", "0123abcd"),
            "Subject: Report Domain: example.org\r\n Submitter: mx.example\r\n"
            " Report-ID: 0123abcd\r\n");
}

TEST(GzipTest, ComesBackWhole) {
  std::string text;
  for (int i = 0; i < 20'000; ++i) text += "row " + std::to_string(i * 7919 % 1000) + '\n';
  for (const std::string& original : {text, std::string()}) {
    const auto packed = gzip(original);
    ASSERT_TRUE(packed);
    z_stream stream{};
    ASSERT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
    std::string packed_copy = *packed;
    std::string out(original.size() + 1, '\0');
    stream.next_in = reinterpret_cast<Bytef*>(packed_copy.data());
    stream.avail_in = static_cast<uInt>(packed_copy.size());
    stream.next_out = reinterpret_cast<Bytef*>(out.data());
    stream.avail_out = static_cast<uInt>(out.size());
    EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
    out.resize(stream.total_out);
    inflateEnd(&stream);
    EXPECT_EQ(out, original);
    EXPECT_EQ(*gzip(original), *packed);
  }
}

}  // namespace
}  // namespace mxring::report
