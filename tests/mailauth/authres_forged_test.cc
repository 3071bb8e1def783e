#include <gtest/gtest.h>

#include <string>

#include "mailauth/authres/forged.h"

namespace mxring::mailauth::authres {
namespace {

constexpr std::string_view kHost = "mx.example.org";

TEST(AuthresForgedTest, OurNameInAnyDress) {
  using namespace std::string_view_literals;
  for (const std::string_view value : {" mx.example.org; dkim=pass"sv,
                                       "mx.example.org"sv,
                                       "mx.example.org;"sv,
                                       "MX.Example.ORG; none"sv,
                                       "mx.example.org.; none"sv,
                                       "mx.example.org 1; dkim=pass"sv,
                                       "mx.example.org 99; dkim=pass"sv,
                                       "\r\n mx.example.org\r\n\t;\r\n dkim=pass\r\n"sv,
                                       "\tmx.example.org\t1\t;"sv,
                                       "\"mx.example.org\"; dkim=pass"sv,
                                       "\"mx.exa\\mple.org\"; dkim=pass"sv,
                                       "\"mx\".example.org; dkim=pass"sv,
                                       "(x) mx.example.org; dkim=pass"sv,
                                       "mx.example.org (x) 1; dkim=pass"sv,
                                       "((nested) \\) x) mx.example.org; dkim=pass"sv,
                                       "mx.(x)example.org; dkim=pass"sv,
                                       "mx.example (x)\r\n .org; dkim=pass"sv,
                                       "mx . example . org; dkim=pass"sv,
                                       "mx.example.org/1; dkim=pass"sv,
                                       "mx.example.org dkim=pass"sv,
                                       "mx.example.org, dkim=pass"sv,
                                       "mx.example.org=pass; x"sv,
                                       "; mx.example.org; dkim=pass"sv,
                                       "i=1; mx.example.org; dkim=pass"sv,
                                       "(mx.example.org) evil.net; dkim=pass"sv,
                                       "evil.net (mx.example.org); dkim=pass"sv,
                                       "\"evil.net; mx.example.org\"; dkim=pass"sv,
                                       "<mx.example.org>; dkim=pass"sv,
                                       "mx.example.org\\; dkim=pass"sv,
                                       "@mx.example.org; dkim=pass"sv,
                                       "mxmx.example.org (x); dkim=pass"sv,
                                       "mx.mx.mx.example.org!; dkim=pass"sv}) {
    EXPECT_TRUE(claims_to_be_from(value, kHost)) << value;
    EXPECT_TRUE(claims_to_be_from(value, "Mx.eXample.org.")) << value;
  }
}

TEST(AuthresForgedTest, WhenInDoubtYes) {
  using namespace std::string_view_literals;
  for (const std::string_view value :
       {"evil.net (open; dkim=pass"sv, "\"evil.net; dkim=pass"sv, "evil.net\0; dkim=pass"sv,
        "mx\0.example.org; dkim=pass"sv, "=?utf-8?Q?mx.example.org?=; dkim=pass"sv,
        "\xEF\xBD\x8Dx.example.org; dkim=pass"sv, "evil.net\x7F; dkim=pass"sv,
        "evil.net\x80; dkim=pass"sv}) {
    EXPECT_TRUE(claims_to_be_from(value, kHost)) << value;
  }
}

TEST(AuthresForgedTest, OthersKeepTheirFields) {
  using namespace std::string_view_literals;
  for (const std::string_view value :
       {"mx.google.com; dkim=pass header.d=example.org"sv, "example.org; dkim=pass"sv,
        "x.mx.example.org; dkim=pass"sv, "notmx.example.org; dkim=pass"sv,
        "mx.example.org.evil.net; dkim=pass"sv, "mx.example.or; dkim=pass"sv,
        "mx.google.com 1; dkim=pass smtp.mailfrom=a@mx.example.org"sv,
        "mx.google.com; dkim=pass (mx.example.org)"sv, "mx.google.com (comment); dkim=pass"sv,
        "\"mx.google.com\"; dkim=pass"sv, ""sv, "; none"sv, "mx-example.org; none"sv}) {
    EXPECT_FALSE(claims_to_be_from(value, kHost)) << value;
  }
  EXPECT_FALSE(claims_to_be_from("mx.example.org; none", ""));
}

TEST(AuthresForgedTest, HugeFieldsTakeLinearTime) {
  std::string value = "x (";
  for (int i = 0; i < 60'000; ++i) value += "mx";
  value += "); spf=pass";
  EXPECT_FALSE(claims_to_be_from(value, std::string(100, 'm') + "x" + std::string(100, 'm')));
  EXPECT_FALSE(
      claims_to_be_from(std::string(120'000, '(') + std::string(120'000, ')') + ";", kHost));
}

}  // namespace
}  // namespace mxring::mailauth::authres
