// Who gets reports, the lists of domains, and the list of refusals.
#include "report/audience.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace mxring::report {
namespace {

namespace fs = std::filesystem;

class AudienceTest : public testing::Test {
 protected:
  AudienceTest() : folder_(fs::temp_directory_path() / ("audience-" + std::to_string(getpid()))) {
    fs::create_directories(folder_);
  }
  ~AudienceTest() override { fs::remove_all(folder_); }

  fs::path file(std::string_view text) const {
    const fs::path path = folder_ / "domains";
    std::ofstream(path) << text;
    return path;
  }

  const fs::path folder_;
};

DomainAggregate sum_of(std::uint64_t messages, std::uint64_t passed) {
  DomainAggregate sum;
  sum.messages = messages;
  sum.passed = passed;
  return sum;
}

TEST_F(AudienceTest, OnlyThoseWhoseOwnMailGotHere) {
  const AudienceOptions by_default;
  EXPECT_EQ(withheld("a.example", sum_of(60, 0), by_default), Withheld::kNonePassed);
  EXPECT_EQ(withheld("a.example", sum_of(1, 1), by_default), Withheld::kFew);
  EXPECT_EQ(withheld("a.example", sum_of(2, 1), by_default), Withheld::kNo);
  EXPECT_EQ(withheld("a.example", sum_of(1, 0), {.passes_min = 0, .messages_min = 1}),
            Withheld::kNo);
  EXPECT_EQ(withheld("a.example", sum_of(100, 9), {.passes_min = 10}), Withheld::kNonePassed);
}

TEST_F(AudienceTest, ListsCoverWhatIsBelow) {
  auto domains = read_domains(file("# ours\n\nExample.ORG. # and below\r\n\tother.test\n"));
  ASSERT_TRUE(domains.has_value()) << domains.error();
  for (const char* in : {"example.org", "EXAMPLE.org", "a.b.example.org", "other.test"}) {
    EXPECT_TRUE(domains->covers(in)) << in;
  }
  for (const char* out : {"org", "notexample.org", "example.org.test", ""}) {
    EXPECT_FALSE(domains->covers(out)) << out;
  }
  AudienceOptions options{.passes_min = 0, .messages_min = 1};
  options.denied = *domains;
  EXPECT_EQ(withheld("mail.example.org", sum_of(9, 9), options), Withheld::kDenied);
  EXPECT_EQ(withheld("third.test", sum_of(9, 9), options), Withheld::kNo);
  options.denied = {};
  options.allowed = *domains;
  EXPECT_EQ(withheld("mail.example.org", sum_of(9, 9), options), Withheld::kNo);
  EXPECT_EQ(withheld("third.test", sum_of(9, 9), options), Withheld::kNotAllowed);
}

TEST_F(AudienceTest, AMistakeIsNamedWithItsLine) {
  const auto domains = read_domains(file("example.org\n\na@example.org\n"));
  ASSERT_FALSE(domains.has_value());
  EXPECT_TRUE(
      domains.error().ends_with("domains:3: \"a@example.org\" is not a domain; write one "
                                "a line"))
      << domains.error();
  EXPECT_FALSE(read_domains(folder_ / "nowhere").has_value());
}

TEST_F(AudienceTest, RefusalsAreKeptAndMayBeTakenBack) {
  auto refusals = Refusals::read(folder_);
  ASSERT_TRUE(refusals.has_value());
  EXPECT_FALSE(refusals->has("d@example.org"));
  ASSERT_TRUE(refusals->add("d@example.org", "2026-11-30", "550 5.1.1 No\x1b such # user"));
  ASSERT_TRUE(refusals->add("d@example.org", "2026-12-01", "again"));
  ASSERT_TRUE(refusals->add("a#b@example.org", "2026-12-01", "550"));
  const auto again = Refusals::read(folder_);
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(again->has("d@example.org"));
  EXPECT_TRUE(again->has("a#b@example.org"));
  EXPECT_FALSE(again->has("a"));
  std::ifstream text(folder_ / Refusals::kFile);
  std::string first;
  std::getline(text, first);
  EXPECT_EQ(first, "d@example.org  # 2026-11-30 550 5.1.1 No\\x1b such # user");
  std::ofstream(folder_ / Refusals::kFile) << "a#b@example.org  # by hand\n";
  EXPECT_FALSE(Refusals::read(folder_)->has("d@example.org"));
}

}  // namespace
}  // namespace mxring::report
