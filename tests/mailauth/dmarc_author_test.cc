// What a From field means, and what is refused. The transcripts in dmarc_author.txt:
//
//   # comment
//   = example.org                       the author domain, or the name of an error
//   From: User <user@example.org>       the header section, \xNN and \\ understood
//   (empty line)
#include <gtest/gtest.h>

#include <fstream>

#include "base/limits.h"
#include "mailauth/dmarc/author.h"

namespace mxring::mailauth::dmarc {
namespace {

constexpr std::string_view kErrors[] = {
    "no-field", "several-fields", "empty",        "several-mailboxes", "group", "syntax",
    "route",    "comment-inside", "encoded-word", "quoted-marks",      "domain"};

std::string unescaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out += text[i];
    } else if (text[i + 1] == 'x') {
      out += static_cast<char>(std::stoi(text.substr(i + 2, 2), nullptr, 16));
      i += 3;
    } else {
      out += text[++i];
    }
  }
  return out;
}

std::string verdict(std::string_view header, AuthorScratch& scratch) {
  const base::Limits limits;
  mail::HeaderIndex index(limits.header_bytes, limits.header_fields);
  index.feed(header);
  index.finish();
  const auto domain = find_author_domain(header, index.fields(), scratch);
  if (domain) return std::string(*domain);
  EXPECT_FALSE(describe(domain.error()).empty());
  return std::string(kErrors[static_cast<std::size_t>(domain.error())]);
}

TEST(DmarcAuthorTest, Transcripts) {
  std::ifstream file(MXRING_TEST_DATA "/dmarc_author.txt");
  ASSERT_TRUE(file);
  AuthorScratch scratch;
  std::string expected;
  std::string header;
  int cases = 0;
  int at = 0;
  const auto judge = [&] {
    if (expected.empty()) return;
    ++cases;
    EXPECT_EQ(verdict(header, scratch), expected) << "line " << at << ":\n" << header;
    // As the last thing of a message that has a body, and as a message without one.
    EXPECT_EQ(verdict(header + "\r\nbody", scratch), expected) << "line " << at;
    expected.clear();
    header.clear();
  };
  for (std::string line; std::getline(file, line); ++at) {
    if (line.starts_with('#')) continue;
    if (line.starts_with("= ")) {
      expected = line.substr(2);
    } else if (line.empty()) {
      judge();
    } else {
      header += unescaped(line) + "\r\n";
    }
  }
  judge();
  EXPECT_GT(cases, 90);
}

TEST(DmarcAuthorTest, LongNamesAreNoDomains) {
  AuthorScratch scratch;
  const std::string label(63, 'a');
  const std::string name = label + "." + label + "." + label + ".example";
  EXPECT_TRUE(parse_author_domain("u@" + name, scratch));
  EXPECT_FALSE(parse_author_domain("u@a" + name, scratch));
  EXPECT_FALSE(parse_author_domain("u@" + label + "." + name, scratch));
}

}  // namespace
}  // namespace mxring::mailauth::dmarc
