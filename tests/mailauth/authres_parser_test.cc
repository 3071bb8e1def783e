// Reading results: the corpus of others, built again and read again, and what is hostile in them.
#include <gtest/gtest.h>

#include <filesystem>

#include "mailauth/authres/builder.h"
#include "mailauth/authres/parser.h"
#ifdef MXRING_HAVE_YAML
#include <yaml-cpp/yaml.h>
#endif

namespace mxring::mailauth::authres {
namespace {

#ifdef MXRING_HAVE_YAML
// Whatever was read, built again by us, is read as the same.
void expect_round_trip(const Fields& fields) {
  std::string field;
  Builder builder(field);
  builder.begin(fields.authserv_id);
  for (const MethodResult& result : fields.results) {
    builder.result(result.method, result.result).reason(result.reason);
    for (const Property& property : result.properties) {
      builder.property(property.type, property.name, property.value);
    }
  }
  builder.end();
  const auto again = parse(std::string_view(field).substr(field.find(':') + 1));
  ASSERT_TRUE(again) << field;
  EXPECT_EQ(again->authserv_id, fields.authserv_id);
  EXPECT_EQ(again->results, fields.results) << field;
}

TEST(AuthresParserTest, TheCorpusRoundTrips) {
  const std::string path = MXRING_CORPORA "/authres-parse/cases.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const YAML::Node document = YAML::LoadFile(path);
  int cases = 0;
  for (const YAML::Node& test : document["go-msgauth"]) {
    ++cases;
    const auto value = test["value"].as<std::string>();
    const auto parsed = parse(value);
    ASSERT_TRUE(parsed) << value;
    EXPECT_EQ(parsed->authserv_id, test["authserv_id"].as<std::string>());
    ASSERT_EQ(parsed->results.size(), test["results"].size()) << value;
    for (std::size_t i = 0; i < parsed->results.size(); ++i) {
      const YAML::Node& expected = test["results"][i];
      const MethodResult& result = parsed->results[i];
      EXPECT_EQ(result.method, expected["method"].as<std::string>());
      EXPECT_EQ(result.result, expected["result"].as<std::string>());
      EXPECT_EQ(result.reason, expected["reason"] ? expected["reason"].as<std::string>() : "");
      EXPECT_EQ(result.properties.size(), expected["props"].size());
      for (const Property& property : result.properties) {
        const YAML::Node& wanted = expected["props"][property.type + "." + property.name];
        ASSERT_TRUE(wanted) << property.name;
        EXPECT_EQ(property.value, wanted.as<std::string>());
      }
    }
    expect_round_trip(*parsed);
  }
  for (const YAML::Node& test : document["mailauth"]) {
    ++cases;
    const auto value = test["value"].as<std::string>();
    const auto parsed = parse(value);
    ASSERT_TRUE(parsed) << value;
    for (const auto& entry : test["expect"]) {
      const auto key = entry.first.as<std::string>();
      const auto wanted = entry.second.as<std::string>();
      if (key == "note") continue;
      if (key == "authserv_id") {
        EXPECT_EQ(parsed->authserv_id, wanted) << value;
        continue;
      }
      const std::size_t dot = key.find('.');
      bool found = false;
      for (const MethodResult& result : parsed->results) {
        if (dot == std::string::npos) {
          found = found || (result.method == key && result.result == wanted);
        } else if (const auto* text = result.find(key.substr(0, dot), key.substr(dot + 1))) {
          found = found || *text == wanted;
        }
      }
      EXPECT_TRUE(found) << key << " in " << value;
    }
    for (const MethodResult& result : parsed->results) {
      EXPECT_EQ(result.find("header", "i.x"), nullptr);
      EXPECT_EQ(result.find("header", "tostring.z"), nullptr);
    }
    expect_round_trip(*parsed);
  }
  EXPECT_EQ(cases, 19);
}
#else
TEST(AuthresParserTest, TheCorpusRoundTrips) {
  GTEST_SKIP() << "yaml-cpp was not there when this was built";
}
#endif

TEST(AuthresParserTest, CommentsQuotesAndFolding) {
  const auto parsed = parse(
      " (a (nested) \\) comment) \"mx.example.org\" (x) 1 (y);\r\n"
      "\tDKIM (z) / 1 = (q) Pass (w) reason (e) = \"a \\\"b\\\"; c\" header (r) . (t) D = \r\n"
      " \"example.com\" (u);(i) spf = fail;;");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->authserv_id, "mx.example.org");
  EXPECT_EQ(parsed->version, 1U);
  ASSERT_EQ(parsed->results.size(), 2U);
  EXPECT_EQ(parsed->results[0].method, "dkim");
  EXPECT_EQ(parsed->results[0].result, "pass");
  EXPECT_EQ(parsed->results[0].reason, "a \"b\"; c");
  ASSERT_EQ(parsed->results[0].properties.size(), 1U);
  EXPECT_EQ(parsed->results[0].properties[0], (Property{"header", "d", "example.com"}));
  EXPECT_EQ(parsed->results[1].method, "spf");
}

TEST(AuthresParserTest, AddressesWithQuotedLocalParts) {
  const auto parsed = parse("mx.example.org; auth=pass smtp.auth=\"a b\"@example.com smtp.x=y");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(*parsed->results[0].find("smtp", "auth"), "a b@example.com");
  EXPECT_EQ(*parsed->results[0].find("smtp", "x"), "y");
}

TEST(AuthresParserTest, ArcInstances) {
  const auto parsed = parse(" i = 2 ; mx.example.org; dkim=pass");
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->instance, 2U);
  EXPECT_EQ(parsed->authserv_id, "mx.example.org");
  EXPECT_FALSE(parse("i=; mx.example.org; dkim=pass"));
  EXPECT_FALSE(parse("i=1 mx.example.org; dkim=pass"));
  EXPECT_FALSE(parse("i=1; i=2; mx.example.org"));
  EXPECT_FALSE(parse("i=99999999999; mx.example.org"));
}

TEST(AuthresParserTest, WhatHasNoCertainEndIsAnError) {
  EXPECT_EQ(parse("mx (open; dkim=pass").error(), ParseError::kOpenComment);
  EXPECT_EQ(parse("mx; dkim=pass (open").error(), ParseError::kOpenComment);
  EXPECT_EQ(parse("\"mx; dkim=pass").error(), ParseError::kOpenQuote);
  EXPECT_EQ(parse("mx; dkim=pass reason=\"x").error(), ParseError::kOpenQuote);
  EXPECT_EQ(parse("mx; dkim=pass reason=\"x\\").error(), ParseError::kOpenQuote);
  EXPECT_EQ(parse("mx.example.org dkim=pass").error(), ParseError::kService);
  EXPECT_EQ(parse("mx.example.org 1 2; dkim=pass").error(), ParseError::kService);
  EXPECT_EQ(parse("dkim=pass; mx.example.org").error(), ParseError::kService);
}

TEST(AuthresParserTest, WhatIsNoResultIsLeftOut) {
  const auto parsed = parse("mx; ; none; =pass; dkim=; d?k=pass; spf=pass; (dkim=pass)");
  ASSERT_TRUE(parsed);
  ASSERT_EQ(parsed->results.size(), 1U);
  EXPECT_EQ(parsed->results[0].method, "spf");
}

}  // namespace
}  // namespace mxring::mailauth::authres
