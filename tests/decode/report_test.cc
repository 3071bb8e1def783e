// DMARC and TLS reports through every wrapping, and what is wrong with some.
#include <gtest/gtest.h>

#include "decode/decode.h"
#include "decode/unpack.h"
#include "decode/xml_reader.h"
#include "tests/decode/messages.h"

namespace mxring::decode {
namespace {

bool has(const List<Text>& notes, std::string_view part) {
  for (const Text& note : notes) {
    if (note.find(part) != Text::npos) return true;
  }
  return false;
}

class Trace final : public XmlHandler {
 public:
  void begin(std::string_view name) override { text_.append("<").append(name).append(">"); }
  void text(std::string_view text) override { text_ += text; }
  void end() override { text_ += "</>"; }
  bool go_on() const override { return true; }
  std::string text_;
};

struct Read {
  std::string trace;
  XmlError error;
  bool deep;
  bool operator==(const Read&) const = default;
};

Read read_xml(std::string_view xml, std::size_t piece, std::uint32_t depth = 16) {
  Trace trace;
  XmlReader reader;
  reader.begin(trace, depth);
  for (std::size_t at = 0; at < xml.size(); at += piece) reader.feed(xml.substr(at, piece));
  const XmlError error = reader.finish();
  return {trace.text_, error, reader.too_deep()};
}

TEST(XmlReader, EverySplitGivesTheSame) {
  const std::pair<std::string_view, Read> documents[] = {
      {"\xEF\xBB\xBF<?xml version='1.0'?><!-- a>b --><n:a x=\"1>2\" y='/'>t&lt;&#65;&#x20ac;<b/> "
       "<![CDATA[<&]]]]></n:a> <!-- end -->",
       {"<a>t<A\xE2\x82\xAC<b></> <&]]</>", XmlError::kNone, false}},
      {"<a><b></a></b>", {"<a><b>", XmlError::kMismatch, false}},
      {"<a>", {"<a>", XmlError::kEnd, false}},
      {"<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", {"", XmlError::kDoctype, false}},
      {"<a>&nbsp;&amp &#xD800;</a>", {"<a>&nbsp;&amp &#xD800;</>", XmlError::kNone, false}},
      {"<a>&b<c/>;&lt</a>", {"<a>&b<c></>;&lt</>", XmlError::kNone, false}},
      {"text<a/>", {"", XmlError::kSyntax, false}},
      {"<a b='", {"", XmlError::kEnd, false}},
      {"", {"", XmlError::kEnd, false}},
      {"<a><!WRONG></a>", {"<a>", XmlError::kSyntax, false}},
  };
  for (const auto& [xml, wanted] : documents) {
    for (std::size_t piece = 1; piece <= xml.size() + 1; ++piece) {
      const Read got = read_xml(xml, piece);
      EXPECT_EQ(got.trace, wanted.trace) << xml << " in pieces of " << piece;
      EXPECT_EQ(got.error, wanted.error) << xml << " in pieces of " << piece;
    }
  }
}

TEST(XmlReader, DepthAndTokensAreBounded) {
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += "<x>";
  for (int i = 0; i < 100; ++i) deep += "</x>";
  EXPECT_TRUE(read_xml("<a>" + deep + "</a>", 1000, 16).deep);
  EXPECT_EQ(read_xml("<a>" + deep + "</a>", 1000, 16).error, XmlError::kNone);
  EXPECT_EQ(read_xml("<a b='" + std::string(70'000, 'x') + "'/>", 1000).error, XmlError::kToken);
  EXPECT_EQ(read_xml("<a b='" + std::string(70'000, 'x') + "'/>", 100'000).error, XmlError::kToken);
  EXPECT_EQ(read_xml("<a><!--" + std::string(70'000, 'x') + "--></a>", 999).error, XmlError::kNone);
}

void expect_report(const Facts& facts, std::uint64_t rows, const char* what) {
  ASSERT_EQ(facts.kind, Kind::kDmarcReport) << what << ": " << facts.reason.value_or("");
  const DmarcReport& r = facts.dmarc;
  EXPECT_EQ(r.key, "Ann & Co!r-1") << what;
  EXPECT_EQ(r.begin, 100) << what;
  EXPECT_EQ(r.p, "reject") << what;
  EXPECT_EQ(r.row_count, rows) << what;
  EXPECT_EQ(r.message_count, 2 * rows) << what;
  ASSERT_EQ(r.rows.size(), rows) << what;
  const DmarcRow& row = r.rows[rows - 1];
  EXPECT_EQ(r.texts.at(row.header_from), "example.org") << what;
  EXPECT_EQ(r.texts.at(r.auths[row.dkim_begin].selector), "s1") << what;
  EXPECT_EQ(r.texts.at(r.auths[row.spf_begin].domain), "example.net") << what;
  EXPECT_TRUE(facts.defects.empty()) << what << ": " << facts.defects[0];
}

class Unpacked final : public UnpackSink {
 public:
  bool take(std::string_view bytes) override {
    text_.append(bytes);
    return true;
  }
  bool next_entry() override {
    text_ += '|';
    return true;
  }
  std::string text_;
};

TEST(Unpacker, EverySplitGivesTheSame) {
  const std::string xml = dmarc_xml(3);
  const std::string whole = xml + '|';
  const std::pair<std::string, std::string> files[] = {
      {gzip(xml), whole},
      {zip_entry({xml}) + kZipEnd, whole},
      {zip_entry({xml, false, true}) + kZipEnd, whole},
      {zip_entry({xml, true}) + kZipEnd, whole},
      {zip_entry({"no report"}) + zip_entry({xml}) + kZipEnd, "no report|" + whole},
      {"PK\x03 is no zip", "PK\x03 is no zip|"},
      {"\x1F is no gzip", "\x1F is no gzip|"},
      {xml, whole},
  };
  Unpacker unpacker;
  for (const auto& [file, wanted] : files) {
    for (std::size_t piece = 1; piece < 70; ++piece) {
      Unpacked out;
      unpacker.begin(out, {1U << 20U, 100, 1U << 20U});
      for (std::size_t at = 0; at < file.size(); at += piece) {
        if (!unpacker.take(std::string_view(file).substr(at, piece))) break;
      }
      EXPECT_EQ(unpacker.finish(), UnpackEnd::kGood) << piece;
      ASSERT_EQ(out.text_, wanted) << piece;
    }
  }
}

TEST(DmarcReport, EveryWrappingAndLabel) {
  const std::string xml = dmarc_xml(300);
  const std::string zipped = zip_entry({xml}) + kZipEnd;
  const std::string late = zip_entry({xml, false, true}) + kZipEnd;
  const std::string stored = zip_entry({xml, true}) + kZipEnd;
  const std::string second = zip_entry({"no report"}) + zip_entry({xml}) + kZipEnd;
  const std::string halves = gzip(xml.substr(0, 1000)) + gzip(xml.substr(1000));
  for (const std::string& bytes : {gzip(xml), zipped, late, stored, second, xml}) {
    // Types and names are wrong in every way: the bytes decide.
    for (const auto& [type, name] :
         {std::pair("application/gzip", "a.xml.gz"), std::pair("application/zip", "a.zip"),
          std::pair("application/octet-stream", "report"), std::pair("text/plain", "a.xml.gz"),
          std::pair("text/xml", "a")}) {
      expect_report(decode(report_mail(type, name, bytes)), 300, type);
    }
    expect_report(decode(bytes), 300, "a file of its own");
  }
  expect_report(decode(dmarc_xml(3, "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">")), 3,
                "2.0");
  expect_report(decode(dmarc_xml(3, "<f:feedback xmlns:f='x'>")
                           .replace(dmarc_xml(3, "<f:feedback xmlns:f='x'>").rfind("</feedback"),
                                    10, "</f:feedback")),
                3, "prefix");
  // The XML ends with the first member; a second one would begin another document.
  EXPECT_EQ(decode(report_mail("application/gzip", "a.gz", halves)).kind, Kind::kDmarcReport);
}

TEST(DmarcReport, WideCharacters) {
  std::string wide("\xFF\xFE", 2);
  for (const char c : dmarc_xml(2)) {
    wide += c;
    wide += '\0';
  }
  expect_report(decode(report_mail("application/xml", "a.xml", wide)), 2, "UTF-16");
}

TEST(DmarcReport, DamageIsTold) {
  const std::string xml = dmarc_xml(300);
  const std::string whole = gzip(xml);
  Facts facts = decode(report_mail("application/gzip", "a.gz", whole.substr(0, whole.size() / 2)));
  ASSERT_EQ(facts.kind, Kind::kDmarcReport);
  EXPECT_LT(facts.dmarc.row_count, 300U);
  EXPECT_TRUE(has(facts.defects, "ends early"));
  std::string wrong = whole;
  wrong[wrong.size() - 5] ^= 1;  // of the checksum's four bytes
  wrong[wrong.size() - 8] ^= 1;
  facts = decode(
      report_mail("application/gzip", "a.gz", gzip(xml).substr(0, 20) + std::string(50, 'x')));
  EXPECT_TRUE(facts.kind == Kind::kMail ? facts.reason.has_value() : !facts.defects.empty());
  facts = decode(report_mail("application/zip", "a.zip", zip_entry({xml, false, false, true})));
  EXPECT_EQ(facts.kind, Kind::kMail);
  EXPECT_NE(facts.reason.value_or("").find("encrypted"), Text::npos);
  facts = decode(report_mail("text/xml", "a.xml", "<!DOCTYPE feedback []>" + xml.substr(22)));
  EXPECT_EQ(facts.kind, Kind::kMail);
  EXPECT_NE(facts.reason.value_or("").find("document type"), Text::npos);
  facts = decode(report_mail("text/xml", "a.xml", xml.substr(0, xml.size() - 30)));
  EXPECT_EQ(facts.dmarc.row_count, 299U);
  EXPECT_TRUE(has(facts.defects, "ends early"));
  facts = decode(report_mail("text/xml", "a.xml", "<html><body>no</body></html>"));
  EXPECT_EQ(facts.kind, Kind::kMail);
}

TEST(DmarcReport, BudgetsEndItAndAreTold) {
  Options options;
  options.budget.rows = 10;
  Facts facts = decode(report_mail("text/xml", "a.xml", dmarc_xml(11)), options);
  EXPECT_EQ(facts.dmarc.row_count, 10U);
  EXPECT_TRUE(has(facts.limits, "rows"));
  EXPECT_TRUE(decode(report_mail("text/xml", "a.xml", dmarc_xml(10)), options).limits.empty());
  options = {};
  options.budget.decoded_bytes = 5000;
  facts = decode(report_mail("application/gzip", "a.gz", gzip(dmarc_xml(300))), options);
  EXPECT_EQ(facts.kind, Kind::kDmarcReport);
  EXPECT_TRUE(has(facts.limits, "decoded_bytes"));
  options = {};
  options.budget.ratio_free = 0;
  options.budget.ratio = 5;
  facts = decode(report_mail("application/gzip", "a.gz", gzip(dmarc_xml(3000))), options);
  EXPECT_TRUE(has(facts.limits, "ratio"));
}

TEST(DmarcReport, RowsOneByOne) {
  class Sum final : public RowSink {
   public:
    void row(const DmarcReport& report, const DmarcRow& row) override {
      ++rows;
      messages += row.count;
      good = good && report.org_name == "Ann & Co" && report.texts.at(row.spf) == "fail" &&
             report.auths.size() == 2;
    }
    std::uint64_t rows = 0, messages = 0;
    bool good = true;
  };
  Sum sum;
  Options options;
  options.rows = &sum;
  const Facts facts = decode(report_mail("text/xml", "a.xml", dmarc_xml(500)), options);
  EXPECT_EQ(sum.rows, 500U);
  EXPECT_EQ(sum.messages, 1000U);
  EXPECT_TRUE(sum.good);
  EXPECT_TRUE(facts.dmarc.rows.empty());
  EXPECT_EQ(facts.dmarc.row_count, 500U);
}

TEST(DmarcReport, UnknownElementsAreNamed) {
  std::string xml = dmarc_xml(1);
  xml.insert(xml.find("<policy_published>"), "<own><deep>1</deep></own>");
  const Facts facts = decode(xml);
  expect_report(facts, 1, "extended");
  ASSERT_EQ(facts.dmarc.extensions.size(), 1U);
  EXPECT_EQ(facts.dmarc.extensions[0], "own");
}

constexpr std::string_view kTls =
    "{ \"organization-name\": \"\\u00c4 \\ud83d\\udc31\", \"report-id\":\"t-1\",\n \"date-range\":"
    "{\"start-datetime\":\"2020-01-01T00:00:00Z\",\"end-datetime\":\"2020-01-02T00:00:00Z\"},"
    "\"policies\":[ {\"policy\":{\"policy-type\":\"sts\"},\"summary\":{"
    "\"total-successful-session-count\": 7,\"total-failure-session-count\":2}},{\"summary\":{"
    "\"total-failure-session-count\":3}} ], \"own\":[1.5e3,true,null,{}] }";

TEST(TlsReport, UnchangedAndCounted) {
  for (const std::string& bytes : {std::string(kTls), gzip(kTls), zip_entry({kTls}) + kZipEnd}) {
    const Facts facts = decode(report_mail("application/tlsrpt+gzip", "a.json.gz", bytes));
    ASSERT_EQ(facts.kind, Kind::kTlsReport) << facts.reason.value_or("");
    EXPECT_EQ(facts.tls->organization_name, "\xC3\x84 \xF0\x9F\x90\xB1");
    EXPECT_EQ(facts.tls->report_id, "t-1");
    EXPECT_EQ(facts.tls->policies, 2U);
    EXPECT_EQ(facts.tls->successful_sessions, 7U);
    EXPECT_EQ(facts.tls->failed_sessions, 5U);
    EXPECT_NE(facts.tls->json.find("\"own\":[1.5e3,true,null,{}]}"), Text::npos);
    EXPECT_TRUE(facts.defects.empty());
  }
}

TEST(TlsReport, FieldsMayBeMissing) {
  EXPECT_EQ(decode("{\"report-id\":\"x\",\"policies\":[]}").kind, Kind::kTlsReport);
  EXPECT_EQ(decode("{\"organization-name\":\"x\",\"policies\":[{}]}").kind, Kind::kTlsReport);
  EXPECT_EQ(decode("{\"policies\":[]}").kind, Kind::kMail);
  EXPECT_EQ(decode("{\"report-id\":\"x\"}").kind, Kind::kMail);
}

TEST(TlsReport, DamagedJsonIsNone) {
  for (const char* end :
       {"", "}", ",", "\"x", "\"\\q\"", "01", "1.", "tru", "]", "{\"a\" 1}", "\"a\nb\""}) {
    const std::string json = std::string("{\"report-id\":\"x\",\"policies\":[],\"y\":") + end;
    EXPECT_EQ(decode(json).kind, Kind::kMail) << json;
  }
  const std::string deep = "{\"report-id\":\"x\",\"policies\":[],\"y\":" + std::string(100, '[') +
                           std::string(100, ']') + "}";
  EXPECT_EQ(decode(deep).kind, Kind::kMail);
  EXPECT_TRUE(has(decode(deep).limits, "json_depth"));
}

}  // namespace
}  // namespace mxring::decode
