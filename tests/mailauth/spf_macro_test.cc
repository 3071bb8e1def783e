// RFC 7208 7.4 has the examples; the suites' own expansions are in spf_suite_test.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "mailauth/spf/macro.h"

namespace mxring::mailauth::spf {
namespace {

MacroValues values(std::string_view ip = "192.0.2.3") {
  return {.sender = "strong-bad@email.example.com",
          .local_part = "strong-bad",
          .sender_domain = "email.example.com",
          .domain = "email.example.com",
          .client = *base::IpAddress::parse(ip),
          .client_name = "mx.example.org",
          .helo = "helo.example",
          .receiver = "receiver.example",
          .now_unix_s = 1'700'000'000};
}

std::string text(std::string_view macro) {
  return expand_text(macro, values()).value_or("(error)");
}

std::string name(std::string_view spec, const MacroValues& with) {
  const auto expanded = expand_name(spec, with);
  return expanded ? expanded->to_text() : "(none)";
}

TEST(SpfMacroTest, EveryLetter) {
  EXPECT_EQ(text("%{s} %{l} %{o} %{d} %{i} %{p} %{v} %{h} %{c} %{r} %{t}"),
            "strong-bad@email.example.com strong-bad email.example.com email.example.com 192.0.2.3 "
            "mx.example.org in-addr helo.example 192.0.2.3 receiver.example 1700000000");
  EXPECT_EQ(text("%%%_%-"), "% %20");
}

TEST(SpfMacroTest, Ipv6IsNibblesAndReadable) {
  const auto expanded = expand_text("%{i} %{c} %{v}", values("2001:db8::cb01"));
  EXPECT_EQ(expanded.value_or(""),
            "2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.c.b.0.1 2001:db8::cb01 ip6");
}

TEST(SpfMacroTest, Transformers) {
  EXPECT_EQ(text("%{d4} %{d3} %{d2} %{d1}"), "email.example.com email.example.com example.com com");
  EXPECT_EQ(text("%{dr} %{d2r} %{d1r}"), "com.example.email example.email email");
  EXPECT_EQ(text("%{l-} %{lr-} %{l1r-} %{l1-}"), "strong.bad bad.strong strong bad");
  EXPECT_EQ(text("%{s.-@}"), "(error)");  // @ is no delimiter
  EXPECT_EQ(text("%{s.-}"), "strong.bad@email.example.com");
  EXPECT_EQ(text("%{dR}"), "com.example.email");
}

TEST(SpfMacroTest, CapitalsAreUrlEscaped) {
  MacroValues odd = values();
  odd.local_part = "jack&jill=up~-._/ ";
  EXPECT_EQ(expand_text("%{L}", odd).value_or(""), "jack%26jill%3Dup~-._%2F%20");
}

TEST(SpfMacroTest, EmptyPartsStay) {
  MacroValues odd = values();
  odd.local_part = "-a--b-";
  EXPECT_EQ(expand_text("%{l-}", odd).value_or(""), ".a..b.");
  EXPECT_EQ(expand_text("%{lr-}", odd).value_or(""), ".b..a.");
  EXPECT_FALSE(expand_name("%{l-}.example", odd)) << "an empty label is no name";
}

TEST(SpfMacroTest, LongNamesLoseLabelsFromTheLeft) {
  MacroValues odd = values();
  const std::string label(50, 'x');
  const std::string local = label + ".1" + label + ".2" + label + ".3" + label + ".4" + label;
  odd.local_part = local;
  const std::string expanded = name("%{l}.example.com", odd);
  EXPECT_EQ(expanded, "1" + label + ".2" + label + ".3" + label + ".4" + label + ".example.com");
  EXPECT_LE(expanded.size(), dns::Name::kTextBytesMax);
}

// Labels of more than 63 bytes make no name; of a name over 253 they go first (RFC 7208 7.3).
TEST(SpfMacroTest, ALocalPartThatIsNoLabel) {
  MacroValues odd = values();
  const std::string verp_local(100, 'x');
  odd.local_part = verp_local;
  EXPECT_EQ(name("%{l}.example.com", odd), "(none)");
  const std::string local(512, 'x');
  const std::string sender = local + "@email.example.com";
  odd.local_part = local;
  odd.sender = sender;
  EXPECT_EQ(name("%{l}.example.com", odd), "example.com");
  EXPECT_EQ(name("%{l1r+}._spf.%{d}", odd), "_spf.email.example.com");
  EXPECT_EQ(name("%{d}", odd), "email.example.com");
  EXPECT_EQ(expand_text("%{l}", odd).value_or(""), local);
  EXPECT_EQ(expand_text("%{s}", odd).value_or(""), sender);
  const std::string label(60, 'x');
  const std::string verp = label + "=" + label + "=" + label + "=" + label + "=" + label;
  odd.local_part = verp;
  EXPECT_EQ(name("%{l1=}.example.com", odd), label + ".example.com");
}

TEST(SpfMacroTest, AFloodOfMacrosIsCutAndNotGathered) {
  MacroValues odd = values();
  const std::string local(64, 'l');
  odd.local_part = local;
  std::string spec;
  for (int i = 0; i < 10'000; ++i) spec += "%{l}.";
  spec += "example.com";
  EXPECT_TRUE(is_domain_spec(spec));
  EXPECT_EQ(name(spec, odd), "(none)") << "labels of 64";
  odd.local_part = "short";
  const std::string expanded = name(spec, odd);
  EXPECT_LE(expanded.size(), dns::Name::kTextBytesMax);
  EXPECT_TRUE(expanded.starts_with("short.short."));
  EXPECT_TRUE(expanded.ends_with(".short.example.com"));
  EXPECT_FALSE(expand_text(spec, odd)) << "an explanation that long is none";
}

TEST(SpfMacroTest, PlaceDecidesWhatIsAllowed) {
  for (const char* macro : {"%{c}", "%{r}", "%{t}", "two words"}) {
    EXPECT_TRUE(is_macro_string(macro, MacroPlace::kExplanation)) << macro;
    EXPECT_FALSE(is_macro_string(macro, MacroPlace::kDomain)) << macro;
  }
  for (const char* macro : {"%", "%x", "%{", "%{}", "%{d", "%{x}", "%{d0}", "%{dq}", "%{d2r.x}"}) {
    EXPECT_FALSE(is_macro_string(macro, MacroPlace::kExplanation)) << macro;
  }
}

TEST(SpfMacroTest, SeesWhichLettersAreUsed) {
  EXPECT_TRUE(uses_letter("a.%{p}.b", 'p'));
  EXPECT_TRUE(uses_letter("%{P2r}", 'p'));
  EXPECT_TRUE(uses_letter("%{d}.%{l-}", 'l'));
  EXPECT_FALSE(uses_letter("%{d}.p.example", 'p'));
  EXPECT_FALSE(uses_letter("%%{p}.example", 'p')) << "a percent sign and braces";
}

// Against the plain way of RFC 7208 7.3: split, reverse, keep, join.
TEST(SpfMacroTest, TransformersOnEveryShortValue) {
  constexpr std::string_view kBytes = "ab-.";
  for (int code = 0; code < 1024; ++code) {
    std::string value;
    for (int rest = code, i = 0; i < 5; ++i, rest /= 4)
      value += kBytes[static_cast<std::size_t>(rest % 4)];
    MacroValues with = values();
    with.local_part = value;
    for (const bool reversed : {false, true}) {
      for (const std::string_view delimiters : {"", "-", ".-"}) {
        for (std::size_t keep = 0; keep < 5; ++keep) {
          std::vector<std::string> parts(1);
          for (const char c : value) {
            const std::string_view split = delimiters.empty() ? "." : delimiters;
            if (split.find(c) == std::string_view::npos) {
              parts.back() += c;
            } else {
              parts.emplace_back();
            }
          }
          if (reversed) std::ranges::reverse(parts);
          if (keep != 0 && keep < parts.size()) {
            parts.erase(parts.begin(), parts.end() - static_cast<std::ptrdiff_t>(keep));
          }
          std::string expected;
          for (const std::string& part : parts) expected += (&part == &parts[0] ? "" : ".") + part;
          const std::string macro = "%{l" + (keep == 0 ? "" : std::to_string(keep)) +
                                    (reversed ? "r" : "") + std::string(delimiters) + "}";
          const bool plain = keep == 0 && !reversed && delimiters.empty();
          ASSERT_EQ(expand_text(macro, with).value_or("(error)"), plain ? value : expected)
              << macro << " of " << value;
        }
      }
    }
  }
}

}  // namespace
}  // namespace mxring::mailauth::spf
