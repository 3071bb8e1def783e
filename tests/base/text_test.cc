#include "base/text.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::base {
namespace {

std::string encode(std::uint32_t point) {
  std::string out;
  const auto add = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (point < 0x80) {
    add(point);
  } else if (point < 0x800) {
    add(0xC0 | point >> 6);
    add(0x80 | (point & 0x3F));
  } else if (point < 0x10000) {
    add(0xE0 | point >> 12);
    add(0x80 | (point >> 6 & 0x3F));
    add(0x80 | (point & 0x3F));
  } else {
    add(0xF0 | point >> 18);
    add(0x80 | (point >> 12 & 0x3F));
    add(0x80 | (point >> 6 & 0x3F));
    add(0x80 | (point & 0x3F));
  }
  return out;
}

TEST(Utf8Test, EveryCodePointButSurrogates) {
  for (std::uint32_t point = 0; point <= 0x10FFFF; ++point) {
    const std::string bytes = encode(point);
    const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    ASSERT_EQ(utf8_sequence(bytes), surrogate ? 0 : bytes.size()) << point;
    ASSERT_EQ(utf8_sequence(bytes + "x"), surrogate ? 0 : bytes.size()) << point;
    if (bytes.size() > 1) {
      ASSERT_EQ(utf8_sequence(std::string_view(bytes).substr(0, bytes.size() - 1)), 0U) << point;
    }
  }
}

TEST(Utf8Test, RefusesLongFormsAndStrayBytes) {
  for (const std::string_view bytes :
       {"\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xF0\x80\x80\x80",
        "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFE", "\xFF", "\x80", "\xBF",
        "\xC3(", "\xE2\x82(", "\xF0\x9F\x98("}) {
    EXPECT_EQ(utf8_sequence(bytes), 0U);
    EXPECT_FALSE(is_valid_utf8(bytes));
  }
  EXPECT_EQ(utf8_sequence(""), 0U);
  EXPECT_TRUE(is_valid_utf8(""));
  EXPECT_TRUE(is_valid_utf8("na\xC3\xAFve \xF0\x9F\x98\x80"));
  EXPECT_FALSE(is_valid_utf8("na\xC3\xAFve \xF0\x9F\x98"));
}

TEST(EscapeTest, ControlsBackslashAndBrokenBytes) {
  EXPECT_EQ(escaped("plain text"), "plain text");
  EXPECT_EQ(escaped("a\r\nb"), "a\\x0d\\x0ab");
  EXPECT_EQ(escaped("\x1b[31m"), "\\x1b[31m");
  EXPECT_EQ(escaped("back\\slash"), "back\\x5cslash");
  EXPECT_EQ(escaped("\x7f"), "\\x7f");
  EXPECT_EQ(escaped("gr\xC3\xBCn"), "gr\xC3\xBCn");
  EXPECT_EQ(escaped("\xC3("), "\\xc3(");
  EXPECT_EQ(escaped("\xC2\x9B"
                    "31m"),
            "\\xc2\\x9b31m");  // CSI as one C1 control
  EXPECT_EQ(escaped(std::string_view("\0", 1)), "\\x00");
}

// What turns, ends or steers a line of text on a terminal, and the neighbours that do not.
TEST(EscapeTest, CharactersThatSteerText) {
  const auto steers = [](std::uint32_t point) {
    return (point >= 0x80 && point <= 0x9F) || point == 0x061C || point == 0x200E ||
           point == 0x200F || (point >= 0x2028 && point <= 0x202E) ||
           (point >= 0x2066 && point <= 0x206F);
  };
  for (std::uint32_t point = 0xA0 - 0x20; point <= 0x10FFFF; ++point) {
    if (point >= 0xD800 && point <= 0xDFFF) continue;
    const std::string bytes = encode(point);
    ASSERT_EQ(steers_text(bytes), steers(point)) << point;
    ASSERT_EQ(escaped(bytes) == bytes, !steers(point)) << point;
    ASSERT_EQ(without_controls(bytes) == bytes, !steers(point)) << point;
  }
  EXPECT_EQ(escaped("invoice\xE2\x80\xAEgpj.exe"), "invoice\\xe2\\x80\\xaegpj.exe");
}

TEST(EscapeTest, WhatIsEscapedAlreadyIsLeftAlone) {
  EXPECT_EQ(without_controls("a \\x1b\nb"), "a \\x1b\nb");
  EXPECT_EQ(without_controls("a\x1b[31m\rb\x7f"), "a\\x1b[31m\\x0db\\x7f");
  EXPECT_EQ(without_controls("\xFF gr\xC3\xBCn \xE2\x81\xA6"), "\\xff gr\xC3\xBCn \\xe2\\x81\\xa6");
}

TEST(EscapeTest, AnyThreeBytesGiveOneSafeLineThatReadsBack) {
  const auto unescape = [](std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\\') {
        out += static_cast<char>(std::stoi(std::string(text.substr(i + 2, 2)), nullptr, 16));
        i += 3;
      } else {
        out += text[i];
      }
    }
    return out;
  };
  constexpr std::array<int, 16> kInteresting{0x00, 0x0A, 0x1B, 0x20, 0x41, 0x5C, 0x7F, 0x80,
                                             0x9B, 0xBF, 0xC2, 0xC3, 0xE2, 0xED, 0xF0, 0xFF};
  for (const int a : kInteresting) {
    for (const int b : kInteresting) {
      for (const int c : kInteresting) {
        const std::string bytes{static_cast<char>(a), static_cast<char>(b), static_cast<char>(c)};
        const std::string safe = escaped(bytes);
        ASSERT_TRUE(is_valid_utf8(safe));
        for (const char each : safe) {
          ASSERT_GE(static_cast<unsigned char>(each), 0x20U);
          ASSERT_NE(each, '\x7f');
        }
        ASSERT_EQ(unescape(safe), bytes);
      }
    }
  }
}

TEST(AsciiTest, CaseIsIgnoredForLettersOnly) {
  EXPECT_TRUE(ascii_iequals("EHLO", "ehlo"));
  EXPECT_TRUE(ascii_iequals("", ""));
  EXPECT_FALSE(ascii_iequals("EHLO", "EHL"));
  EXPECT_FALSE(ascii_iequals("[", "{"));  // 0x5B and 0x7B differ by the case bit
  EXPECT_FALSE(ascii_iequals("@", "`"));
  EXPECT_FALSE(ascii_iequals("\xC3\x84", "\xC3\xA4"));
}

TEST(NearestTest, SuggestsWhatWasMeant) {
  constexpr std::array<std::string_view, 4> kKeys{"listen", "shards", "limits", "log"};
  EXPECT_EQ(nearest("lisen", kKeys), "listen");
  EXPECT_EQ(nearest("shard", kKeys), "shards");
  EXPECT_EQ(nearest("lgo", kKeys), "log");
  EXPECT_EQ(nearest("something-else", kKeys), "");
  EXPECT_EQ(nearest("tset", std::vector<std::string>{"spf", "tune", "log"}), "");
  EXPECT_EQ(nearest("--josn", std::vector<std::string>{"--count", "--json"}), "--json");
  EXPECT_EQ(nearest("", kKeys), "");
}

TEST(NearestTest, EditDistanceOnKnownPairs) {
  EXPECT_EQ(edit_distance("", ""), 0U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("flaw", "lawn"), 2U);
  EXPECT_EQ(edit_distance("same", "same"), 0U);
  EXPECT_EQ(edit_distance("smpt", "smtp"), 1U);
  EXPECT_EQ(edit_distance("josn", "json"), 1U);
}

}  // namespace
}  // namespace mxring::base
