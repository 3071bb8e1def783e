// Most of the cases are in domains.txt.
#include "mail/idna.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace mxring::mail {
namespace {

std::string_view word(IdnaError error) {
  switch (error) {
    case IdnaError::kEncoding:
      return "encoding";
    case IdnaError::kLabel:
      return "label";
    case IdnaError::kTooLong:
      return "long";
    case IdnaError::kMemory:
      return "memory";
  }
  return "?";
}

std::string converted(std::string_view domain) {
  DomainBuffer buffer;
  const auto result = to_a_labels(domain, buffer);
  return result ? std::string(*result) : "!" + std::string(word(result.error()));
}

TEST(Idna, Cases) {
  std::ifstream in(std::filesystem::path(MXRING_TEST_DATA) / "domains.txt", std::ios::binary);
  std::string line;
  int cases = 0;
  for (int number = 1; std::getline(in, line); ++number) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string domain;
    std::string expected;
    ASSERT_TRUE(words >> domain >> expected) << "line " << number;
    EXPECT_EQ(converted(domain), expected) << "line " << number << ": " << domain;
    ++cases;
  }
  EXPECT_GT(cases, 30);
}

TEST(Idna, AsciiIsReturnedWhereItLies) {
  DomainBuffer buffer;
  for (const std::string& domain :
       {std::string("Example.ORG"), std::string(), std::string("a b"), std::string(5000, 'x'),
        std::string("n\0l.de", 6), std::string("[192.0.2.1]")}) {
    const auto result = to_a_labels(domain, buffer);
    ASSERT_TRUE(result);
    EXPECT_EQ(result->data(), domain.data());
    EXPECT_EQ(result->size(), domain.size());
  }
}

TEST(Idna, ResultsOfOtherNamesLieInTheBuffer) {
  DomainBuffer buffer;
  const auto result = to_a_labels("köln.de", buffer);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->data(), buffer.data());
  // What is converted already stays.
  EXPECT_EQ(converted(*result), "xn--kln-sna.de");
}

TEST(Idna, CombiningCharactersAreComposed) {
  EXPECT_EQ(converted("ko\xCC\x88ln.de"), "xn--kln-sna.de");
}

TEST(Idna, BytesThatAreNoText) {
  EXPECT_EQ(converted("k\xF6ln.de"), "!encoding");       // Latin-1
  EXPECT_EQ(converted("\xC0\xAE.de"), "!encoding");      // a dot in two bytes
  EXPECT_EQ(converted("\xED\xA0\x80.de"), "!encoding");  // half a surrogate pair
  EXPECT_EQ(converted("k\xC3"), "!encoding");
  EXPECT_EQ(converted(std::string("k\0ö.de", 7)), "!label");
  EXPECT_EQ(converted("k\r\nö.de"), "!label");
  EXPECT_EQ(converted("k ö.de"), "!label");
  EXPECT_EQ(converted("k\xC2\xA0ö.de"), "!label");  // a space that does not break
}

TEST(Idna, Lengths) {
  std::string name;
  for (int i = 0; i < 3; ++i) name += std::string(63, 'a') + '.';
  // 192 bytes so far; "xn--" and "-4ya" around the label's ASCII.
  const auto with_label = [&](std::size_t count) { return name + std::string(count, 'b') + "ö"; };
  const std::string longest = converted(with_label(53));
  EXPECT_EQ(longest.size(), kDomainBytesMax) << longest;
  EXPECT_EQ(converted(with_label(53) + '.'), longest + '.');
  EXPECT_EQ(converted(with_label(54)), "!long");
  EXPECT_EQ(converted(std::string(64, 'a') + ".ö.de"), "!long");
  std::string many;
  for (int i = 0; i < 2000; ++i) many += "ö.";
  EXPECT_EQ(converted(many), "!long");
}

}  // namespace
}  // namespace mxring::mail
