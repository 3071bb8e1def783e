#include <gtest/gtest.h>

#include "base/text.h"
#include "mailauth/authres/builder.h"
#include "mailauth/authres/parser.h"
#include "mailauth/authres/verdict.h"

namespace mxring::mailauth::authres {
namespace {

constexpr std::string_view kName = "Authentication-Results:";

Fields read_back(const std::string& field) {
  EXPECT_TRUE(field.starts_with(kName)) << field;
  EXPECT_TRUE(field.ends_with("\r\n"));
  const auto parsed = parse(std::string_view(field).substr(kName.size()));
  EXPECT_TRUE(parsed) << field;
  return parsed ? *parsed : Fields{};
}

// Every line but the first begins with white space, and nothing but CRLF ends one.
void expect_one_field(const std::string& field) {
  for (std::size_t i = 0; i < field.size(); ++i) {
    const char c = field[i];
    if (c == '\r') {
      ASSERT_EQ(field.substr(i, 2), "\r\n");
      ++i;
      if (i + 1 < field.size()) {
        ASSERT_EQ(field[i + 1], '\t') << field;
      }
      continue;
    }
    ASSERT_TRUE(c == '\t' || static_cast<signed char>(c) >= ' ' ||
                static_cast<unsigned char>(c) > 0x7F)
        << field;
    ASSERT_NE(c, 0x7F);
  }
}

std::string cleaned(std::string_view value) {
  std::string out;
  append_clean(out, value);
  return out;
}

std::string with_property(std::string_view value) {
  std::string field;
  Builder builder(field);
  builder.begin("mx.example.org");
  builder.result("dkim", "pass").property("header", "d", value);
  builder.end();
  return field;
}

TEST(AuthresBuilderTest, WritesWhatPeopleExpect) {
  std::string field = "Received: x\r\n";
  Builder builder(field);
  builder.begin("mx.example.org");
  builder.result("spf", "pass").property("smtp", "mailfrom", "user@example.com");
  builder.result("dkim", "fail")
      .reason("body hash did not verify")
      .property("header", "d", "example.com")
      .property("header", "s", "sel1")
      .property("header", "a", "rsa-sha256")
      .property("header", "b", "QC/a+b==");
  builder.result("iprev", "pass")
      .comment("mail.example.com")
      .property("policy", "iprev", "2001:db8::1");
  builder.end();
  EXPECT_EQ(field,
            "Received: x\r\n"
            "Authentication-Results: mx.example.org;\r\n"
            "\tspf=pass smtp.mailfrom=user@example.com;\r\n"
            "\tdkim=fail reason=\"body hash did not verify\" header.d=example.com\r\n"
            "\theader.s=sel1 header.a=rsa-sha256 header.b=\"QC/a+b==\";\r\n"
            "\tiprev=pass (mail.example.com) policy.iprev=\"2001:db8::1\"\r\n");
}

// A part of an address would be another address; the domain alone is one (RFC 8601 2.7.2).
TEST(AuthresBuilderTest, ALongSenderIsItsDomain) {
  spf::Outcome outcome;
  outcome.result = Result::kPass;
  outcome.domain = "example.com";
  for (const char fill : {'x', '\\', '"'}) {
    for (const std::size_t bytes : {300U, 308U, 309U, 512U}) {
      const std::string sender = '"' + std::string(bytes - 2, fill) + "\"@example.com";
      std::string field;
      Builder builder(field);
      builder.begin("mx.example.org");
      add_spf(builder, outcome, fill == 'x' ? std::string(bytes, 'x') + "@example.com" : sender);
      builder.end();
      EXPECT_TRUE(field.ends_with("example.com\r\n") || field.ends_with("example.com\"\r\n"));
      EXPECT_EQ(field.ends_with("smtp.mailfrom=example.com\r\n"), bytes > 308) << field;
      for (std::size_t at = 0; at < field.size(); at = field.find("\r\n", at) + 2) {
        EXPECT_LE(field.find("\r\n", at) - at, 998U) << field;
      }
    }
  }
}

TEST(AuthresBuilderTest, NothingIsNone) {
  std::string field;
  Builder builder(field);
  builder.begin("mx.example.org");
  builder.end();
  EXPECT_EQ(field, "Authentication-Results: mx.example.org; none\r\n");
  EXPECT_TRUE(read_back(field).results.empty());
}

TEST(AuthresBuilderTest, HostileValuesStayOneValue) {
  using namespace std::string_view_literals;
  for (const std::string_view value : {"example.com\0.evil.net"sv,
                                       "a\"b"sv,
                                       "a; spf=pass"sv,
                                       "a\r\nX-Evil: yes"sv,
                                       "a\r\n\r\nbody"sv,
                                       "(comment"sv,
                                       "comment)"sv,
                                       "a\\"sv,
                                       "\\\""sv,
                                       "\""sv,
                                       ""sv,
                                       " "sv,
                                       "a b"sv,
                                       "\xFF\xFE"sv,
                                       "b\xC3\xBC"
                                       "cher.example"sv,
                                       "\xE2\x80\xAE"sv,
                                       "a,b"sv,
                                       "<a@b>"sv,
                                       "a@b@c"sv,
                                       "@"sv,
                                       "@example.com"sv,
                                       "a@"sv,
                                       "a@b..c"sv,
                                       "a@.b"sv,
                                       "x=y"sv,
                                       "a/b"sv,
                                       "\x1b[31m"sv,
                                       "\x7F"sv,
                                       "\t"sv,
                                       "a\nb"sv,
                                       "a\rb"sv,
                                       "none"sv,
                                       "=?utf-8?Q?x?="sv}) {
    const std::string field = with_property(value);
    expect_one_field(field);
    const Fields fields = read_back(field);
    EXPECT_EQ(fields.authserv_id, "mx.example.org");
    ASSERT_EQ(fields.results.size(), 1U) << field;
    ASSERT_EQ(fields.results[0].properties.size(), 1U) << field;
    EXPECT_EQ(fields.results[0].properties[0].value, cleaned(value)) << field;
    EXPECT_EQ(fields.results[0].result, "pass");
  }
}

// Quotes and backslashes are part of an address (RFC 5321 4.1.2): what is read is what was sent.
TEST(AuthresBuilderTest, ValuesReadBackAsTheyWere) {
  for (const std::string_view value :
       {R"("a\"(;b"@evil.example)", R"("a\\"@b.example)", R"(\)", R"(\\)", R"(a\x5cb)", R"("\")",
        R"(a\"b)", "b\xC3\xBC\\cher", R"(\(x\))"}) {
    const Fields fields = read_back(with_property(value));
    ASSERT_EQ(fields.results.size(), 1U) << value;
    ASSERT_EQ(fields.results[0].properties.size(), 1U) << value;
    EXPECT_EQ(fields.results[0].properties[0].value, value);
  }
  EXPECT_EQ(cleaned("a\\\r\xFF\\"), R"(a\\x0d\xff\)");
}

TEST(AuthresBuilderTest, HostileCommentsAndReasonsStayInPlace) {
  using namespace std::string_view_literals;
  for (const std::string_view text : {"a) spf=pass ("sv, "\\) ; spf=pass"sv, "((("sv, ")))"sv,
                                      "\r\nX: y"sv, "\"; spf=pass"sv, "\0"sv, "\\"sv}) {
    std::string field;
    Builder builder(field);
    builder.begin("mx.example.org");
    builder.result("dmarc", "fail")
        .comment(text)
        .reason(text)
        .property("header", "from", "a.example");
    builder.end();
    expect_one_field(field);
    const Fields fields = read_back(field);
    ASSERT_EQ(fields.results.size(), 1U) << field;
    EXPECT_EQ(fields.results[0].method, "dmarc");
    EXPECT_EQ(fields.results[0].reason, cleaned(text));
    ASSERT_EQ(fields.results[0].properties.size(), 1U) << field;
    EXPECT_EQ(fields.results[0].properties[0].value, "a.example");
  }
}

TEST(AuthresBuilderTest, LongValuesAreCutWithoutBreakingACharacter) {
  EXPECT_EQ(read_back(with_property(std::string(320, 'a'))).results[0].properties[0].value,
            std::string(320, 'a'));
  EXPECT_EQ(read_back(with_property(std::string(5000, 'a'))).results[0].properties[0].value,
            std::string(320, 'a') + "...");
  std::string umlauts = "a";
  for (int i = 0; i < 300; ++i) umlauts += "\xC3\xBC";
  const std::string cut = read_back(with_property(umlauts)).results[0].properties[0].value;
  EXPECT_TRUE(base::is_valid_utf8(cut));
  EXPECT_EQ(cut.size(), 319U + 3);
  for (const char c : {'"', '\\', '\0', '\xFF'}) {
    const std::string field = with_property(std::string(5000, c));
    expect_one_field(field);
    EXPECT_LT(field.size(), 900U);  // below the 998 of a line
  }
}

TEST(AuthresBuilderTest, LinesStayWithinTheirColumns) {
  std::string field;
  Builder builder(field);
  builder.begin("a.rather.long.name.of.a.receiving.host.mx.example.org");
  for (int i = 1; i < 60; ++i) {
    builder.result("dkim", "pass").comment(std::string(static_cast<std::size_t>(i), 'c'));
    for (int k = 0; k < 5; ++k) {
      builder.property("header", "d",
                       std::string(static_cast<std::size_t>((i * 7 + k * 13) % 55 + 1), 'x'));
    }
  }
  builder.end();
  std::size_t begin = 0;
  while (begin < field.size()) {
    const std::size_t end = field.find("\r\n", begin);
    const std::size_t tab = field[begin] == '\t' ? 7 : 0;
    EXPECT_LE(end - begin + tab, kColumnsMax) << field.substr(begin, end - begin);
    begin = end + 2;
  }
  EXPECT_EQ(read_back(field).results.size(), 59U);
}

TEST(AuthresBuilderTest, OurOwnResultsWithTheirProperties) {
  std::string field;
  Builder builder(field);
  builder.begin("mx.example.org");
  spf::Outcome spf_outcome;
  spf_outcome.result = Result::kFail;
  spf_outcome.domain = "example.com";
  add_spf(builder, spf_outcome, "bounce+a=b@example.com");
  spf_outcome.identity = spf::Identity::kHelo;
  spf_outcome.domain = "helo.example.com";
  add_spf(builder, spf_outcome, "");
  add_dkim(builder, {});
  std::vector<dkim::SignatureResult> signatures(2);
  signatures[0].result = Result::kPass;
  signatures[0].domain = "example.com";
  signatures[0].selector = "s1";
  signatures[0].algorithm = "rsa-sha256";
  signatures[0].signature_start = "abcdefgh";
  signatures[0].identity = "@example.com";
  signatures[1].result = Result::kPermerror;
  signatures[1].reason = "no key for signature";
  add_dkim(builder, signatures);
  // Valid, and not counted; valid with a key that is being tried out.
  signatures[0].body_limited = true;
  signatures[1].result = Result::kPass;
  signatures[1].reason.clear();
  signatures[1].testing = true;
  add_dkim(builder, signatures);
  dmarc::Outcome dmarc_outcome;
  dmarc_outcome.result = Result::kFail;
  dmarc_outcome.from_domain = "example.com";
  dmarc_outcome.record_found = true;
  dmarc_outcome.policy = dmarc::Policy::kReject;
  add_dmarc(builder, dmarc_outcome);
  add_iprev(builder, Result::kPass, base::IpAddress::v4({192, 0, 2, 1}), "mail.example.com");
  builder.end();
  const Fields fields = read_back(field);
  ASSERT_EQ(fields.results.size(), 9U) << field;
  EXPECT_EQ(*fields.results[0].find("smtp", "mailfrom"), "bounce+a=b@example.com");
  EXPECT_EQ(*fields.results[1].find("smtp", "helo"), "helo.example.com");
  EXPECT_EQ(fields.results[2].result, "none");
  EXPECT_EQ(*fields.results[3].find("header", "d"), "example.com");
  EXPECT_EQ(*fields.results[3].find("header", "i"), "@example.com");
  EXPECT_EQ(*fields.results[3].find("header", "b"), "abcdefgh");
  EXPECT_EQ(fields.results[4].reason, "no key for signature");
  EXPECT_EQ(fields.results[4].find("header", "d"), nullptr);
  EXPECT_EQ(fields.results[5].result, "policy");
  EXPECT_EQ(fields.results[5].reason, "part of the body is not signed (l=)");
  EXPECT_EQ(*fields.results[5].find("header", "d"), "example.com");
  EXPECT_EQ(fields.results[6].result, "pass");
  EXPECT_NE(field.find("dkim=pass (testing key)"), std::string::npos) << field;
  EXPECT_EQ(*fields.results[7].find("header", "from"), "example.com");
  EXPECT_EQ(*fields.results[7].find("policy", "dmarc"), "reject");
  EXPECT_EQ(*fields.results[8].find("policy", "iprev"), "192.0.2.1");
}

}  // namespace
}  // namespace mxring::mailauth::authres
