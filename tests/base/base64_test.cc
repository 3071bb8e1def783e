#include "base/base64.h"

#include <gtest/gtest.h>

#include <random>

namespace mxring::base {
namespace {

std::string decoded(std::string_view text, Base64 how = Base64::kStrict) {
  std::string out = "what was there before";
  return decode_base64(text, how, out) ? out : "(refused)";
}

TEST(Base64Test, VectorsOfRfc4648) {
  const std::pair<std::string, std::string> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (const auto& [bytes, text] : vectors) {
    EXPECT_EQ(encode_base64(bytes), text);
    EXPECT_EQ(decoded(text), bytes);
    EXPECT_EQ(decoded(text, Base64::kFolded), bytes);
  }
}

TEST(Base64Test, AnyBytesOfAnyLengthComeBack) {
  std::mt19937 luck(7);
  std::string bytes;
  for (std::size_t size = 0; size < 300; ++size) {
    std::string text = "before:";
    append_base64(text, bytes);
    ASSERT_TRUE(text.starts_with("before:"));
    ASSERT_EQ(text.size(), 7 + (size + 2) / 3 * 4);
    ASSERT_EQ(decoded(std::string_view(text).substr(7)), bytes);
    bytes += static_cast<char>(luck());
  }
}

TEST(Base64Test, StrictTakesNothingElse) {
  for (const char* text : {"Zg", "Zg=", "Zg===", "Zm8", "Zm9v=", "Zm 9v", "Zm9v\n", " Zm9v", "Z",
                           "Zm9vY", "====", "=", "Zg==Zg==", "Zm9-", "Zm9_", "Zm\xC3\xA4v"}) {
    EXPECT_EQ(decoded(text), "(refused)") << text;
  }
}

TEST(Base64Test, FoldedSkipsWhiteSpaceAndMissingPadding) {
  for (const char* text :
       {"Zm9vYg==", " Z m\t9v\r\n Yg = = \r\n", "Zm9vYg", "Zm9vYg\r\n", "Zm9v Yg "}) {
    EXPECT_EQ(decoded(text, Base64::kFolded), "foob") << text;
  }
  EXPECT_EQ(decoded("\r\n \t", Base64::kFolded), "");
  for (const char* text : {"Zm9vYg=", "Zm9vYg===", "Zm9v=", "Zm9vYg== Yg", "Zm9vY", "=", "Zm.v"}) {
    EXPECT_EQ(decoded(text, Base64::kFolded), "(refused)") << text;
  }
}

TEST(Base64Test, UnusedBitsAreZero) {
  EXPECT_EQ(decoded("Zh=="), "(refused)");
  EXPECT_EQ(decoded("Zm9="), "(refused)");
  EXPECT_EQ(decoded("Zh", Base64::kFolded), "(refused)");
}

TEST(Base64Test, RoundTripWithSpacesAnywhere) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes(random() % 70, '\0');
    for (char& c : bytes) c = static_cast<char>(random());
    const std::string text = encode_base64(bytes);
    ASSERT_EQ(decoded(text), bytes);
    std::string spaced;
    for (const char c : text) {
      if (random() % 4 == 0) spaced += " \t\r\n"[random() % 4];
      spaced += c;
    }
    ASSERT_EQ(decoded(spaced, Base64::kFolded), bytes);
  }
}

}  // namespace
}  // namespace mxring::base
