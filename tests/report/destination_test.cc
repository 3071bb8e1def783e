// Whom a record's reports may go to, with a zone for DNS.
#include "report/destination.h"

#include <gtest/gtest.h>

#include "tests/dns/zone.h"

namespace mxring::report {
namespace {

constexpr std::string_view kZone = R"(
_dmarc.example.org TXT "v=DMARC1; p=reject"
_dmarc.sub.example.org TXT "v=DMARC1; p=none"
_dmarc.other.test TXT "v=DMARC1; p=none"
example.org._report._dmarc.takes.test TXT "v=DMARC1"
example.org._report._dmarc.chatty.test TXT "some text"
example.org._report._dmarc.chatty.test TXT "v=DMARC1;"
example.org._report._dmarc.text.test TXT "dmarc reports welcome"
example.org._report._dmarc.moved.test TXT "v=DMARC1; rua=mailto:new@moved.test!2k,mailto:second@moved.test"
example.org._report._dmarc.sly.test TXT "v=DMARC1; rua=mailto:victim@elsewhere.test"
example.org._report._dmarc.mute.test ! silent
_dmarc.bank TXT "v=DMARC1; p=none; psd=y"
)";

std::vector<Destination> checked(std::string_view domain, std::string_view rua,
                                 int* questions = nullptr) {
  const auto record = *mailauth::dmarc::parse("v=DMARC1; p=none; rua=" + std::string(rua));
  const test::Zone zone = test::Zone::parse(kZone);
  DestinationCheck check(domain, record);
  int asked = 0;
  while (!check.step()) {
    const std::vector<dns::Question> wanted(check.questions().begin(), check.questions().end());
    EXPECT_FALSE(wanted.empty());
    for (const dns::Question& question : wanted) {
      ++asked;
      check.supply(question, zone.answer(question));
    }
    if (asked > 200) {
      ADD_FAILURE() << "it never ends";
      break;
    }
  }
  if (questions != nullptr) *questions = asked;
  return check.destinations();
}

// "address=permission ..." in order.
std::string outcome(std::string_view domain, std::string_view rua) {
  std::string out;
  for (const Destination& destination : checked(domain, rua)) {
    if (!out.empty()) out += ' ';
    out += destination.address + '=' + std::string(word(destination.permission));
  }
  return out;
}

TEST(DestinationTest, OnesOwnOrganizationNeedsNoRecord) {
  EXPECT_EQ(outcome("example.org", "mailto:d@example.org"), "d@example.org=own");
  EXPECT_EQ(outcome("example.org", "mailto:d@mail.sub.example.org"), "d@mail.sub.example.org=own");
  EXPECT_EQ(outcome("sub.example.org", "mailto:d@example.org"), "d@example.org=own");
}

TEST(DestinationTest, OthersMustSaySo) {
  EXPECT_EQ(outcome("example.org", "mailto:d@takes.test"), "d@takes.test=granted");
  EXPECT_EQ(outcome("example.org", "mailto:d@chatty.test"), "d@chatty.test=granted");
  EXPECT_EQ(outcome("example.org", "mailto:d@text.test"), "d@text.test=not-granted");
  EXPECT_EQ(outcome("example.org", "mailto:d@other.test"), "d@other.test=not-granted");
  EXPECT_EQ(outcome("sub.example.org", "mailto:d@takes.test"), "d@takes.test=not-granted");
}

TEST(DestinationTest, AnswersThatCannotBeHad) {
  EXPECT_EQ(outcome("example.org", "mailto:d@mute.test"), "d@mute.test=unanswered");
}

TEST(DestinationTest, AnotherAddressOfTheSameHost) {
  const auto all = checked("example.org", "mailto:old@moved.test!1k,mailto:d@example.org");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[0].address, "d@example.org");
  EXPECT_EQ(all[1].address, "new@moved.test");
  EXPECT_EQ(all[1].permission, Permission::kGranted);
  EXPECT_EQ(all[2].address, "second@moved.test");
}

TEST(DestinationTest, AnAddressOfYetAnotherHostGetsNothing) {
  EXPECT_EQ(outcome("example.org", "mailto:d@sly.test"), "d@sly.test=other-host");
}

TEST(DestinationTest, PublicSuffixesAreNotTheOrganizationsBelowThem) {
  EXPECT_EQ(outcome("bank", "mailto:d@one.bank"), "d@one.bank=not-granted");
}

TEST(DestinationTest, ObsoleteSizesAndWhatIsNoAddress) {
  const auto all = checked("example.org",
                           "mailto:a@example.org!10m,mailto:b@example.org!7,"
                           "mailto:c@example.org!1t,mailto:a@example.org,"
                           "https://example.org/reports,mailto:k%C3%B6@example.org,"
                           "mailto:e@example.org!99999999999999999999g");
  ASSERT_EQ(all.size(), 6U);
  EXPECT_EQ(all[0].address, "a@example.org");
  EXPECT_EQ(all[1].address, "b@example.org");
  EXPECT_EQ(all[2].address, "c@example.org");
  EXPECT_EQ(all[3].permission, Permission::kUnusable);
  EXPECT_EQ(all[4].permission, Permission::kUnusable);
  EXPECT_EQ(all[5].address, "e@example.org");
  EXPECT_EQ(all[5].permission, Permission::kOwn);
}

TEST(DestinationTest, ManyAddressesMakeFewQuestions) {
  std::string rua;
  for (int i = 0; i < 40; ++i) {
    rua += (i == 0 ? "mailto:a" : ",mailto:a") + std::to_string(i) + "@takes.test";
  }
  int questions = 0;
  EXPECT_EQ(checked("example.org", rua, &questions).size(), kDestinationsMax);
  EXPECT_LE(questions, 8);
}

}  // namespace
}  // namespace mxring::report
