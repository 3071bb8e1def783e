#include "base/json.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "base/text.h"

namespace mxring::base {
namespace {

std::string of(std::string_view text) {
  JsonWriter json;
  json.value(text);
  return json.text();
}

TEST(JsonTest, NestsAndSeparates) {
  JsonWriter json;
  json.begin_object();
  json.key("empty").begin_array().end_array();
  json.key("list").begin_array().value(1).value("two").null().value(true).end_array();
  json.key("inner").begin_object().key("x").value(false).key("y").begin_object().end_object();
  json.end_object();
  json.key("last").value(2.5);
  json.end_object();
  EXPECT_EQ(json.text(),
            R"({"empty":[],"list":[1,"two",null,true],"inner":{"x":false,"y":{}},"last":2.5})");
}

TEST(JsonTest, NumbersAreExact) {
  JsonWriter json;
  json.begin_array();
  json.value(std::numeric_limits<std::int64_t>::min());
  json.value(std::numeric_limits<std::uint64_t>::max());
  json.value(std::int32_t{-1}).value(std::uint32_t{4'000'000'000});
  json.value(0.1).value(1e300);
  json.value(std::numeric_limits<double>::infinity()).value(std::nan(""));
  json.end_array();
  EXPECT_EQ(json.text(),
            "[-9223372036854775808,18446744073709551615,-1,4000000000,0.1,1e+300,null,null]");
}

TEST(JsonTest, EscapesWhatMustBe) {
  EXPECT_EQ(of("a\"b\\c/d"), R"("a\"b\\c/d")");
  EXPECT_EQ(of("tab\tnewline\n"), "\"tab\\u0009newline\\u000a\"");
  EXPECT_EQ(of(std::string_view("\0\x1f\x7f", 3)), "\"\\u0000\\u001f\\u007f\"");
  EXPECT_EQ(of("gr\xC3\xBC\xC3\x9F"), "\"gr\xC3\xBC\xC3\x9F\"");
}

TEST(JsonTest, CharactersThatSteerATerminalAreEscaped) {
  JsonWriter json;
  json.value("\xC2\x9B \xD8\x9C \xE2\x80\xAE \xE2\x81\xA9 \xE2\x80\xA9 gr\xC3\xBCn \x7F \n");
  EXPECT_EQ(json.text(), R"("\u009b \u061c \u202e \u2069 \u2029 grün \u007f \u000a")");
}

TEST(JsonTest, AnyBytesGiveValidUtf8WithoutRawControls) {
  // Every pair of bytes, which includes every broken start and every truncated sequence.
  for (int first = 0; first < 256; ++first) {
    for (int second = 0; second < 256; ++second) {
      const std::string bytes{static_cast<char>(first), static_cast<char>(second)};
      const std::string text = of(bytes);
      ASSERT_TRUE(is_valid_utf8(text)) << first << ' ' << second;
      for (const char c : text) ASSERT_GE(static_cast<unsigned char>(c), 0x20U);
    }
  }
  EXPECT_EQ(of("\xFF"), "\"\xEF\xBF\xBD\"");
}

TEST(JsonTest, EightBytesAtOnceComeOutAsOneByOne) {
  const auto inside = [](const std::string& text) {
    const std::string quoted = of(text);
    return quoted.substr(1, quoted.size() - 2);
  };
  for (int c = 0; c < 256; ++c) {
    for (std::size_t at = 0; at < 17; ++at) {
      std::string text(17, 'a');
      text[at] = static_cast<char>(c);
      const std::string wanted =
          std::string(at, 'a') + inside(text.substr(at, 1)) + std::string(16 - at, 'a');
      ASSERT_EQ(inside(text), wanted) << c << " at " << at;
    }
  }
}

TEST(JsonTest, StoredJsonIsPutInAsItIs) {
  JsonWriter json;
  json.begin_array().value(1).raw(R"({"a":[2]})").raw("null").value(3).end_array();
  EXPECT_EQ(json.text(), R"([1,{"a":[2]},null,3])");
}

TEST(JsonTest, KeysAreEscapedAndClearStartsAnew) {
  JsonWriter json;
  json.begin_object().key("a\"b").value(1).end_object();
  EXPECT_EQ(json.text(), R"({"a\"b":1})");
  json.clear();
  json.begin_array().end_array();
  EXPECT_EQ(json.text(), "[]");
}

}  // namespace
}  // namespace mxring::base
