// Whom a file of recipients serves, line by line.
#include "server/recipients.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace mxring::server {
namespace {

using Answer = Recipients::Answer;

// A file in the temporary folder, gone at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string_view content) {
    const int fd = ::mkstemp(path_.data());
    EXPECT_EQ(::write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    ::close(fd);
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = testing::TempDir() + "recipients.XXXXXX";
};

Recipients from_text(std::string_view text, const std::vector<std::string>& domains = {},
                     std::string_view extension = "+") {
  const TemporaryFile file(text);
  Recipients recipients(domains, extension);
  const auto read = recipients.read(file.path());
  EXPECT_TRUE(read.has_value()) << read.error().line << ": " << read.error().what;
  return recipients;
}

TEST(RecipientsTest, NothingConfiguredServesEverybody) {
  const Recipients recipients({}, "+");
  EXPECT_EQ(recipients.find("joe@example.org"), Answer::kServed);
  EXPECT_EQ(recipients.find("postmaster"), Answer::kServed);
  EXPECT_EQ(recipients.find("x@[192.0.2.1]"), Answer::kServed);
}

TEST(RecipientsTest, DomainsAloneServeEverybodyInThem) {
  const std::vector<std::string> domains{"example.org", "Bücher.example"};
  const Recipients recipients(domains, "+");
  EXPECT_EQ(recipients.find("anybody@EXAMPLE.org"), Answer::kServed);
  EXPECT_EQ(recipients.find("anybody@example.org."), Answer::kServed);
  EXPECT_EQ(recipients.find("anybody@xn--bcher-kva.example"), Answer::kServed);
  EXPECT_EQ(recipients.find("anybody@BÜCHER.example"), Answer::kServed);
  EXPECT_EQ(recipients.find("anybody@a.example.org"), Answer::kNotOurs);
  EXPECT_EQ(recipients.find("anybody@example.com"), Answer::kNotOurs);
  EXPECT_EQ(recipients.find("postmaster"), Answer::kServed);
}

TEST(RecipientsTest, AnEmptyFileServesNobodyButPostmaster) {
  const Recipients recipients = from_text("# nobody yet\n", {"example.org"});
  EXPECT_EQ(recipients.find("joe@example.org"), Answer::kUnknown);
  EXPECT_EQ(recipients.find("PostMaster@example.org"), Answer::kServed);
  EXPECT_EQ(recipients.find("postmaster"), Answer::kServed);
  EXPECT_EQ(recipients.find("postmaster@example.com"), Answer::kNotOurs);
}

TEST(RecipientsTest, AddressesDomainsAndAllBelow) {
  const Recipients recipients = from_text(
      "joe@example.org\n"
      "  Jane.Doe@Example.ORG   # sales\r\n"
      "\t\n"
      "#@comment.example\n"
      "odd#name@example.org\n"
      "@all.example\n"
      "@.below.example\n"
      "user@xn--bcher-kva.example\n"
      "\"quoted\"@example.org\n"
      "joe@[192.0.2.1]\n"
      "last@example.org");
  const std::vector<std::string> served{
      "joe@example.org",           "JOE@EXAMPLE.ORG",       "joe@example.org.",
      "joe+list@example.org",      "joe+@example.org",      "jane.doe@example.org",
      "odd#name@example.org",      "x@all.example",         "x@a.below.example",
      "x@a.b.below.example",       "user@bücher.example",   "USER@Bücher.example",
      "quoted@example.org",        "\"joe\"@example.org",   "joe@[192.0.2.1]",
      "last@example.org",          "\"jo\\e\"@example.org", "postmaster@example.org",
      "postmaster@x.below.example"};
  for (const std::string& address : served) {
    EXPECT_EQ(recipients.find(address), Answer::kServed) << address;
  }
  const std::vector<std::string> unknown{"jane@example.org",  "+joe@example.org",
                                         "jo@example.org",    "joes@example.org",
                                         "joe-x@example.org", "joe@bücher.example"};
  for (const std::string& address : unknown) {
    EXPECT_EQ(recipients.find(address), Answer::kUnknown) << address;
  }
  const std::vector<std::string> not_ours{"x@below.example",    "x@comment.example",
                                          "x@a.all.example",    "x@example.com",
                                          "x@notbelow.example", "x@org",
                                          "joe@[192.0.2.2]"};
  for (const std::string& address : not_ours) {
    EXPECT_EQ(recipients.find(address), Answer::kNotOurs) << address;
  }
}

TEST(RecipientsTest, TheWholeLocalPartGoesFirstAndTheExtensionMayBeOff) {
  EXPECT_EQ(from_text("a+b@example.org\n").find("a+b@example.org"), Answer::kServed);
  EXPECT_EQ(from_text("a+b@example.org\n").find("a@example.org"), Answer::kUnknown);
  EXPECT_EQ(from_text("a@example.org\n", {}, "").find("a+b@example.org"), Answer::kUnknown);
  EXPECT_EQ(from_text("a@example.org\n", {}, "-").find("a-b-c@example.org"), Answer::kServed);
}

struct Mistake {
  const char* text;
  std::uint64_t line;
  const char* says;
};

TEST(RecipientsTest, AMistakeIsNamedWithItsLine) {
  for (const Mistake& mistake : {
           Mistake{"a@example.org\nno address\n", 2, "\"no address\" is no address"},
           Mistake{"joe\n", 1, "is no address"},
           Mistake{"\n\n@\n", 3, "is no domain"},
           Mistake{"@.\n", 1, "is no domain"},
           Mistake{"@exa mple.org\n", 1, "is no domain"},
           Mistake{"a@b@\n", 1, "is no address"},
           Mistake{"a@-.example\n", 1, "is no address"},
           Mistake{"a@example.org,b@example.org\n", 1, "is no address"},
           Mistake{"<a@example.org>\n", 1, "is no address"},
           Mistake{"a@\xff.example\n", 1, "\\xff"},
       }) {
    const TemporaryFile file(mistake.text);
    Recipients recipients({}, "+");
    const auto read = recipients.read(file.path());
    ASSERT_FALSE(read.has_value()) << mistake.text;
    EXPECT_EQ(read.error().line, mistake.line) << mistake.text;
    EXPECT_NE(read.error().what.find(mistake.says), std::string::npos) << read.error().what;
  }
}

TEST(RecipientsTest, WhatCannotBeReadIsAnError) {
  Recipients missing({}, "+");
  const auto read = missing.read("/nonexistent/recipients");
  ASSERT_FALSE(read.has_value());
  EXPECT_NE(read.error().what.find("No such file"), std::string::npos);
  Recipients folder({}, "+");
  EXPECT_FALSE(folder.read(testing::TempDir()).has_value());
}

TEST(RecipientsTest, LinesAcrossTheEndOfAPieceAreWhole) {
  // Lines of 23 bytes: several straddle the pieces of a mebibyte that the file is read in.
  std::string text;
  constexpr int kLines = 150'000;
  for (int i = 0; i < kLines; ++i) {
    char line[32];
    std::snprintf(line, sizeof line, "user%06d@example.org\n", i);
    text += line;
  }
  const Recipients recipients = from_text(text);
  EXPECT_EQ(recipients.addresses(), static_cast<std::uint64_t>(kLines));
  for (int i = 0; i < kLines; i += 7) {
    char address[32];
    std::snprintf(address, sizeof address, "user%06d@example.org", i);
    ASSERT_EQ(recipients.find(address), Answer::kServed) << address;
  }
  EXPECT_EQ(recipients.find("user150000@example.org"), Answer::kUnknown);
  const TemporaryFile long_line(std::string(3 << 20, 'a') + "\nb@example.org\n");
  Recipients refused({}, "+");
  const auto read = refused.read(long_line.path());
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().line, 1U);
}

TEST(RecipientsTest, TheLineThatDecidesIsFound) {
  EXPECT_TRUE(Recipients::line_matches("joe@example.org # x", "Joe+a@example.org", "+"));
  EXPECT_TRUE(Recipients::line_matches("@.example.org", "joe@a.example.org", "+"));
  EXPECT_FALSE(Recipients::line_matches("@.example.org", "joe@example.org", "+"));
  EXPECT_FALSE(Recipients::line_matches("# joe@example.org", "joe@example.org", "+"));
  EXPECT_FALSE(Recipients::line_matches("jane@example.org", "postmaster@example.org", "+"));
}

}  // namespace
}  // namespace mxring::server
