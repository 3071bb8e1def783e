#include <gtest/gtest.h>

#include "mailauth/spf/record.h"

namespace mxring::mailauth::spf {
namespace {

std::string error_of(std::string_view text) {
  const auto record = parse(text);
  return record ? "" : std::string(record.error().what);
}

TEST(SpfRecordTest, VersionIsAWordOfItsOwn) {
  for (const char* text : {"v=spf1", "V=SPF1", "v=spf1 ", "v=spf1 -all"}) {
    EXPECT_TRUE(is_spf_record(text)) << text;
  }
  for (const char* text : {"", "v=spf", "v=spf10", "v=spf1-all", " v=spf1", "v=spf1\t-all"}) {
    EXPECT_FALSE(is_spf_record(text)) << text;
    EXPECT_FALSE(parse(text)) << text;
  }
}

TEST(SpfRecordTest, MechanismsWithTheirArguments) {
  const auto record = parse(
      "v=spf1 +a  -A:mail.example.org/24//64 ~mx/28 ?mx:%{d2}//48 ptr:example.org "
      "ip4:192.0.2.0/25 ip6:2001:db8::/32 exists:%{ir}.%{v}._spf.%{d} include:spf.example.net. "
      "-all "
      "redirect=_spf.example.org exp=why.%{d} moo.cow-far_out=man:dog/cat ");
  ASSERT_TRUE(record) << record.error().what << record.error().where;
  ASSERT_EQ(record->terms.size(), 10U);
  const auto& t = record->terms;
  EXPECT_EQ(t[0].mechanism, Mechanism::kA);
  EXPECT_EQ(t[0].spec.size, 0U);
  EXPECT_EQ(t[1].result, Result::kFail);
  EXPECT_EQ(record->part(t[1].spec), "mail.example.org");
  EXPECT_EQ(t[1].prefix4_bits, 24);
  EXPECT_EQ(t[1].prefix6_bits, 64);
  EXPECT_EQ(record->part(t[1].text), "A:mail.example.org/24//64");
  EXPECT_EQ(t[2].result, Result::kSoftfail);
  EXPECT_EQ(t[2].prefix4_bits, 28);
  EXPECT_EQ(t[2].prefix6_bits, 128);
  EXPECT_EQ(t[3].result, Result::kNeutral);
  EXPECT_EQ(record->part(t[3].spec), "%{d2}");
  EXPECT_EQ(t[3].prefix6_bits, 48);
  EXPECT_EQ(t[5].network.to_string(), "192.0.2.0");
  EXPECT_EQ(t[5].prefix4_bits, 25);
  EXPECT_EQ(t[6].network.to_string(), "2001:db8::");
  EXPECT_EQ(record->part(*record->redirect), "_spf.example.org");
  EXPECT_EQ(record->part(*record->explanation), "why.%{d}");
}

TEST(SpfRecordTest, SyntaxErrorsAnywhere) {
  for (const char* term : {"moo",
                           "all:x",
                           "all/8",
                           "all.",
                           "--all",
                           "-",
                           "a/33",
                           "a/",
                           "a/032",
                           "a//129",
                           "a/24/24",
                           "a:",
                           "a:/24",
                           "a:foo",
                           "a:foo.1",
                           "a:foo.-x",
                           "a:foo.x-",
                           "a:foo.example:80",

                           "mx:example.org/-1",
                           "ptr/8",
                           "ptr:",
                           "include",
                           "include:",
                           "include:a.example/8",
                           "exists",
                           "exists:a.example/8",
                           "ip4",
                           "ip4:",
                           "ip4:1.2.3",
                           "ip4:1.2.3.4/33",
                           "ip4:1.2.3.4//32",
                           "ip4:::1",
                           "ip4:1.2.3.4:80",
                           "ip6:1.2.3.4",
                           "ip6:::1/129",
                           "ip6:::1//33",
                           "ip6::::1",
                           "redirect=",
                           "redirect=foo",
                           "redirect:a.example",
                           "exp=",
                           "=x",
                           "1x=y",
                           "x%=y",
                           "x=%(",
                           "x=%{z}",
                           "x=%{c}",
                           "a:%{d0}.example",
                           "a:%{d",
                           "a:%{}",
                           "a:%",
                           "a:%{d=x}",
                           "a:%%{",
                           "redirect=a.example redirect=b.example",
                           "exp=a.example exp=a.example",
                           "a:\x80.example",
                           "a\t-all",
                           "a:ex\x01.example"}) {
    EXPECT_NE(error_of(std::string("v=spf1 ip4:192.0.2.1 ") + term + " -all"), "") << term;
    EXPECT_NE(error_of(std::string("v=spf1 ") + term), "") << term;
  }
}

TEST(SpfRecordTest, OddButAllowed) {
  for (const char* term :
       {"a:.com",          "a:a..b",        "a:%{d}",        "a:%%",
        "a:%{d1r.-+,/_=}", "a:x/y.example", "a/0//0",        "a//0",
        "ip4:0.0.0.0/0",   "ip6:::/0",      "IP4:1.2.3.4",   "ptr",
        "ptr:example.org", "a:1.2.3.x4",    "a:foo.1-a",     "x=",
        "x=%{d}%%%_%-",    "x.y-z_1=:/",    "a:a_b.example", "a:%{d99999999999999999}"}) {
    EXPECT_EQ(error_of(std::string("v=spf1 ") + term), "") << term;
  }
}

TEST(SpfRecordTest, TheErrorNamesTheTerm) {
  const auto record = parse("v=spf1 a mx bad:term -all");
  ASSERT_FALSE(record);
  EXPECT_EQ(record.error().where, "bad:term");
  EXPECT_EQ(record.error().what, "unknown mechanism");
}

TEST(SpfRecordTest, ThePolicyIsParsedOnceForItsAnswer) {
  dns::Answer answer;
  answer.status = dns::Status::kAnswer;
  answer.texts = {"unrelated", "v=spf1 -all", "v=spf10"};
  const auto policy = Policy::of(answer);
  EXPECT_EQ(policy->state(), Policy::State::kOne);
  EXPECT_EQ(policy->record().terms.size(), 1U);
  EXPECT_EQ(Policy::of(answer), policy);
  EXPECT_GT(answer.bytes(), policy->bytes());
}

TEST(SpfRecordTest, SelectionAmongTextRecords) {
  EXPECT_EQ(Policy({"a", "b"}).state(), Policy::State::kNone);
  EXPECT_EQ(Policy({"v=spf1 -all", "V=spf1 -all"}).state(), Policy::State::kSeveral);
  EXPECT_EQ(Policy({"v=spf1 moo"}).state(), Policy::State::kMalformed);
  EXPECT_EQ(Policy(std::vector<std::string>{}).state(), Policy::State::kNone);
}

}  // namespace
}  // namespace mxring::mailauth::spf
