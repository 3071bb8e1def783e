#include "dns/name.h"

#include <gtest/gtest.h>

namespace mxring::dns {
namespace {

TEST(NameTest, KeepsCaseOutAndLabelsIn) {
  const auto name = Name::parse("Mail.EXAMPLE.org.");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->to_text(), "mail.example.org");
  EXPECT_EQ(name->wire(), std::string_view("\4mail\7example\3org"));
  EXPECT_EQ(*name, *Name::parse("mail.example.ORG"));
  EXPECT_EQ(name->labels(), 3U);
}

TEST(NameTest, Bounds) {
  const std::string label(63, 'a');
  EXPECT_TRUE(Name::parse(label + ".example"));
  EXPECT_FALSE(Name::parse(label + "a.example"));
  // 3 labels of 63 and one of 61: 253 characters, the longest there is.
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  ASSERT_EQ(longest.size(), Name::kTextBytesMax);
  EXPECT_TRUE(Name::parse(longest));
  EXPECT_TRUE(Name::parse(longest + "."));
  EXPECT_FALSE(Name::parse(longest + "b"));
}

TEST(NameTest, EmptyLabelsAreNoNames) {
  for (const char* text : {"", "..", "a..b", ".a", "a.."}) EXPECT_FALSE(Name::parse(text)) << text;
  ASSERT_TRUE(Name::parse("."));
  EXPECT_TRUE(Name::parse(".")->is_root());
  EXPECT_EQ(Name().to_text(), ".");
}

TEST(NameTest, OddBytesNeverLeaveRaw) {
  Name name;
  ASSERT_TRUE(name.append_label(std::string_view("a.b\0c", 5)));
  ASSERT_TRUE(name.append_label("x\r\ny\x80\x1b \"(;@"));
  const std::string text = name.to_text();
  EXPECT_EQ(text, "a\\046b\\000c.x\\013\\010y\\128\\027\\032\\034\\040\\059\\064");
  EXPECT_EQ(Name::parse_escaped(text), name);
  EXPECT_FALSE(name.is_host_name());
  EXPECT_TRUE(Name::parse("mx-1._tcp.example.org")->is_host_name());
}

TEST(NameTest, EveryByteSurvivesItsEscape) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    Name name;
    ASSERT_TRUE(name.append_label(std::string_view(&c, 1)));
    const std::string text = name.to_text();
    EXPECT_EQ(Name::parse_escaped(text), name) << byte;
    for (const char out : text) EXPECT_TRUE(out > ' ' && out < 0x7F) << byte;
  }
}

TEST(NameTest, EscapesAsTyped) {
  EXPECT_EQ(Name::parse_escaped("a\\.b.c")->labels(), 2U);
  for (const char* text : {"a\\", "a\\25", "a\\256", "a\\2x4", "\\"}) {
    EXPECT_FALSE(Name::parse_escaped(text)) << text;
  }
}

TEST(NameTest, WithinGoesByLabels) {
  const auto name = [](const char* text) { return *Name::parse(text); };
  EXPECT_TRUE(name("a.example.org").is_within(name("example.org")));
  EXPECT_TRUE(name("example.org").is_within(name("example.org")));
  EXPECT_TRUE(name("example.org").is_within(Name()));
  EXPECT_FALSE(name("badexample.org").is_within(name("example.org")));
  EXPECT_FALSE(name("org").is_within(name("example.org")));
  // A label that contains what looks like the ancestor's wire form.
  Name tricky;
  ASSERT_TRUE(tricky.append_label("x\7example\3org"));
  EXPECT_FALSE(tricky.is_within(name("example.org")));
}

TEST(NameTest, Reverse) {
  EXPECT_EQ(Name::reverse(*base::IpAddress::parse("192.0.2.254")).to_text(),
            "254.2.0.192.in-addr.arpa");
  EXPECT_EQ(Name::reverse(*base::IpAddress::parse("2001:db8::cb01")).to_text(),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

}  // namespace
}  // namespace mxring::dns
