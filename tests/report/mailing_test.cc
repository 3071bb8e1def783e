// Sheets become mails, and what became of those is kept: through crashes, a second command in the
// same folder, a folder that cannot be written, and servers that never make up their minds.
#include "report/mailing.h"

#include <gtest/gtest.h>

#include "report/report_name.h"
#include "tests/support/temp_dir.h"

namespace mxring::report {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kNow = 1'795'000'000;
constexpr std::int64_t kDay = 86'400;

class MailingTest : public testing::Test {
 protected:
  // A report about `domain` for the addresses, as `report build` leaves it.
  fs::path write_report(std::string_view domain, const std::vector<std::string>& addresses) {
    DeliverySheet sheet{std::string(domain),
                        "id" + std::string(domain.substr(0, 1)),
                        "mx.example",
                        "Example",
                        "dmarc@mx.example",
                        {kNow - kDay, kNow - 1},
                        {}};
    for (const std::string& address : addresses) {
      Delivery& delivery = sheet.deliveries.emplace_back();
      delivery.address = address;
      delivery.host = address.substr(address.find('@') + 1);
    }
    const fs::path file =
        folder_.path() / file_name(sheet.submitter, domain, sheet.period, sheet.report_id);
    EXPECT_TRUE(write_file(file, "packed"));
    EXPECT_TRUE(write_file(sheet_path(file), to_json(sheet)));
    return file;
  }
  Mailing mailing(std::int64_t now_s = kNow) {
    Mailing::Options options;
    options.now_unix_s = now_s;
    return Mailing(options, [this](std::string_view line) { complaints_.emplace_back(line); });
  }
  std::vector<std::string> all() const { return {folder_.path().string()}; }

  const test::TempDir folder_;
  std::vector<std::string> complaints_;
};

TEST_F(MailingTest, AMailForEachDeliveryThatIsWaiting) {
  write_report("b.example", {"d@b.example"});
  write_report("a.example", {"d@a.example", "e@other.example"});
  ASSERT_TRUE(write_file(folder_.path() / "no-report.xml.gz", "x"));
  Mailing out = mailing();
  out.add(all());
  ASSERT_EQ(out.letters().size(), 3U);
  EXPECT_EQ(out.letters()[0].rcpt_to, "d@a.example");
  EXPECT_EQ(out.letters()[1].host, "other.example");
  EXPECT_EQ(out.letters()[2].mail_from, "dmarc@mx.example");
  EXPECT_NE(out.letters()[2].content.find("Domain: b.example"), std::string::npos);
  EXPECT_TRUE(complaints_.empty());
}

TEST_F(MailingTest, AProcessThatEndsRepeatsOnlyWhatItDidNotKeep) {
  write_report("a.example", {"one@a.example", "two@a.example", "three@a.example"});
  std::string message_id;
  {
    Mailing out = mailing();
    out.add(all());
    ASSERT_EQ(out.letters().size(), 3U);
    out.letters()[0].fate = Fate::kAccepted;
    out.note(out.letters()[0], kNow);
    out.letters()[1].fate = Fate::kRefused;
    out.letters()[1].code = 550;
    out.letters()[1].reply = "no";
    out.note(out.letters()[1], kNow);
    // The third was taken, and the process ended before it could be kept.
    out.letters()[2].fate = Fate::kAccepted;
    const std::string& content = out.letters()[2].content;
    const std::size_t at = content.find("Message-ID:");
    message_id = content.substr(at, content.find('\r', at) - at);
  }
  Mailing again = mailing(kNow + 100);
  again.add(all());
  ASSERT_EQ(again.letters().size(), 1U);
  EXPECT_EQ(again.letters()[0].rcpt_to, "three@a.example");
  // Whoever got it before can tell.
  EXPECT_NE(again.letters()[0].content.find(message_id), std::string::npos);
  EXPECT_EQ(again.count(DeliveryState::kSent), 1U);
  EXPECT_EQ(again.count(DeliveryState::kRefused), 1U);
  EXPECT_EQ(again.parcels()[0].sheet.deliveries[1].last_reply, "550 no");
}

TEST_F(MailingTest, GivenUpAfterDays) {
  write_report("a.example", {"d@a.example"});
  for (int day = 0; day <= 5; ++day) {
    Mailing out = mailing(kNow + day * kDay);
    out.add(all());
    ASSERT_EQ(out.letters().size(), 1U) << day;
    out.letters()[0].fate = Fate::kPutOff;
    out.note(out.letters()[0], kNow + day * kDay);
    EXPECT_EQ(out.count(DeliveryState::kGivenUp), day == 5 ? 1U : 0U) << day;
  }
  Mailing out = mailing(kNow + 6 * kDay);
  out.add(all());
  EXPECT_TRUE(out.letters().empty());
  EXPECT_EQ(out.parcels()[0].sheet.deliveries[0].attempts, 6U);
}

TEST_F(MailingTest, OneCommandInAFolder) {
  const fs::path file = write_report("a.example", {"d@a.example"});
  Mailing first = mailing();
  first.add(all());
  EXPECT_EQ(first.letters().size(), 1U);
  Mailing second = mailing();
  second.add({file.string()});
  EXPECT_TRUE(second.letters().empty());
  EXPECT_TRUE(second.has_failed());
  ASSERT_EQ(complaints_.size(), 1U);
  EXPECT_NE(complaints_[0].find("another `mxring report` is at work"), std::string::npos);
}

TEST_F(MailingTest, NothingIsSentWhoseOutcomeCannotBeKept) {
  const fs::path file = write_report("a.example", {"d@a.example"});
  write_report("b.example", {"d@b.example"});
  // What a new sheet would be written to is taken.
  fs::create_directory(sheet_path(file).string() + ".new");
  Mailing out = mailing();
  out.add(all());
  ASSERT_EQ(out.letters().size(), 1U);
  EXPECT_EQ(out.letters()[0].host, "b.example");
  EXPECT_TRUE(out.has_failed());
}

TEST_F(MailingTest, OneBadReportKeepsNoOtherBack) {
  write_report("a.example", {"d@a.example"});
  const fs::path damaged = write_report("b.example", {"d@b.example"});
  ASSERT_TRUE(write_file(sheet_path(damaged), "{"));
  const fs::path lost = write_report("c.example", {"d@c.example"});
  Mailing out = mailing();
  out.add({all()[0], lost.string(), (folder_.path() / "missing.xml.gz").string()});
  EXPECT_EQ(out.letters().size(), 2U);  // the folder's, each once
  EXPECT_EQ(complaints_.size(), 2U);
  EXPECT_TRUE(out.has_failed());
}

}  // namespace
}  // namespace mxring::report
