#include <gtest/gtest.h>

#include "mailauth/dmarc/record.h"

namespace mxring::mailauth::dmarc {
namespace {

Record must_parse(std::string_view text) {
  auto record = parse(text);
  EXPECT_TRUE(record) << text;
  return record ? std::move(*record) : Record{};
}

TEST(DmarcRecordTest, OnlyTheVersionAtTheFrontMakesARecord) {
  for (const std::string_view text : {"v=DMARC1", "v=DMARC1;", "v=DMARC1 ; p=none",
                                      "v = DMARC1;p=none", "V=DMARC1; p=none", "v\t=\tDMARC1\t;"}) {
    EXPECT_TRUE(is_dmarc_record(text)) << text;
  }
  for (const std::string_view text :
       {"", "v=", "v=DMARC", "v=DMARC2", "v=dmarc1; p=none", "v=DMARC1 p=none", "v=DMARC1, p=none",
        " v=DMARC1", "p=none; v=DMARC1", ";v=DMARC1", "vv=DMARC1", "v=spf1 -all", "v=DMARC10",
        "\"v=DMARC1\""}) {
    EXPECT_FALSE(is_dmarc_record(text)) << text;
    EXPECT_FALSE(parse(text)) << text;
  }
  EXPECT_FALSE(is_dmarc_record(std::string_view("v=DMARC1\0;", 10)));
}

TEST(DmarcRecordTest, DefaultsAreThoseOfTheStandard) {
  const Record record = must_parse("v=DMARC1; p=quarantine");
  EXPECT_TRUE(record.usable);
  EXPECT_EQ(record.policy, Policy::kQuarantine);
  EXPECT_EQ(record.subdomain_policy, Policy::kQuarantine);
  EXPECT_EQ(record.nonexistent_policy, Policy::kQuarantine);
  EXPECT_EQ(record.public_suffix, PublicSuffix::kUnknown);
  EXPECT_EQ(record.dkim_alignment, Alignment::kRelaxed);
  EXPECT_EQ(record.spf_alignment, Alignment::kRelaxed);
  EXPECT_FALSE(record.testing);
  EXPECT_TRUE(record.failure.all_failed);
  EXPECT_TRUE(record.aggregate_uris.empty());
  EXPECT_EQ(record.problem, "");
}

TEST(DmarcRecordTest, EveryTagIsRead) {
  const Record record = must_parse(
      "v=DMARC1;p=reject ; sp = quarantine;np=none;t=y;psd=n;adkim=s;aspf=s;fo=1:d:s;"
      "rua=mailto:a@example.org , mailto:b@example.org!10m;ruf=mailto:c@example.org");
  EXPECT_EQ(record.policy, Policy::kReject);
  EXPECT_EQ(record.subdomain_policy, Policy::kQuarantine);
  EXPECT_EQ(record.nonexistent_policy, Policy::kNone);
  EXPECT_TRUE(record.testing);
  EXPECT_EQ(record.public_suffix, PublicSuffix::kNo);
  EXPECT_EQ(record.dkim_alignment, Alignment::kStrict);
  EXPECT_EQ(record.spf_alignment, Alignment::kStrict);
  EXPECT_FALSE(record.failure.all_failed);
  EXPECT_TRUE(record.failure.any_failed && record.failure.dkim && record.failure.spf);
  ASSERT_EQ(record.aggregate_uris.size(), 2U);
  EXPECT_EQ(record.part(record.aggregate_uris[0]), "mailto:a@example.org");
  EXPECT_EQ(record.part(record.aggregate_uris[1]), "mailto:b@example.org");
  ASSERT_EQ(record.failure_uris.size(), 1U);
  EXPECT_EQ(record.problem, "");
}

TEST(DmarcRecordTest, NamesAndWordsInAnyCase) {
  const Record record = must_parse("v=DMARC1; P=Reject; SP=NONE; PSD=Y; aSpF=S; T=Y");
  EXPECT_EQ(record.policy, Policy::kReject);
  EXPECT_EQ(record.subdomain_policy, Policy::kNone);
  EXPECT_EQ(record.public_suffix, PublicSuffix::kYes);
  EXPECT_EQ(record.spf_alignment, Alignment::kStrict);
  EXPECT_TRUE(record.testing);
}

TEST(DmarcRecordTest, UnknownAndHistoricTagsAreIgnored) {
  const Record record =
      must_parse("v=DMARC1; p=reject; pct=0; rf=bob; ri=bob; foo=bar; =; x; ; v=DMARC2");
  EXPECT_TRUE(record.usable);
  EXPECT_EQ(record.policy, Policy::kReject);
}

TEST(DmarcRecordTest, ABrokenValueLeavesTheDefault) {
  const Record record = must_parse(
      "v=DMARC1; p=reject; adkim=bob; aspf=; fo=0:1; psd=maybe; t=yes; rua=nothing, ftp://x.org/");
  EXPECT_TRUE(record.usable);
  EXPECT_EQ(record.policy, Policy::kReject);
  EXPECT_EQ(record.dkim_alignment, Alignment::kRelaxed);
  EXPECT_EQ(record.spf_alignment, Alignment::kRelaxed);
  EXPECT_TRUE(record.failure.all_failed);
  EXPECT_FALSE(record.failure.any_failed);
  EXPECT_FALSE(record.testing);
  EXPECT_EQ(record.public_suffix, PublicSuffix::kUnknown);
  ASSERT_EQ(record.aggregate_uris.size(), 1U);
  EXPECT_EQ(record.part(record.aggregate_uris[0]), "ftp://x.org/");
  EXPECT_NE(record.problem, "");
}

// RFC 9989 4.10.1.
TEST(DmarcRecordTest, WithoutAValidPolicyAReportAddressMakesItNone) {
  for (const std::string_view tags :
       {"p=bob;", "p=;", "p=n;", "sp=bob; p=reject;", "np=bob; p=reject;", "p=reject p=reject;",
        "p=reject; p=none;", "p=reject\x01;"}) {
    const std::string record = "v=DMARC1; " + std::string(tags);
    const Record alone = must_parse(record);
    EXPECT_FALSE(alone.usable) << record;
    const Record bad_address = must_parse(record + " rua=bob");
    EXPECT_FALSE(bad_address.usable) << record;
    const Record reported = must_parse(record + " rua=mailto:d@example.org; aspf=s");
    EXPECT_TRUE(reported.usable) << record;
    EXPECT_EQ(reported.policy, Policy::kNone);
    EXPECT_EQ(reported.subdomain_policy, Policy::kNone);
    EXPECT_EQ(reported.nonexistent_policy, Policy::kNone);
    EXPECT_EQ(reported.spf_alignment, Alignment::kStrict);
    EXPECT_NE(reported.problem, "");
  }
}

// RFC 9989 4.7.
TEST(DmarcRecordTest, WithoutAPolicyItIsNone) {
  for (const std::string_view text :
       {"v=DMARC1", "v=DMARC1;", "v=DMARC1; pct=100", "v=DMARC1; p"}) {
    const Record record = must_parse(text);
    EXPECT_TRUE(record.usable) << text;
    EXPECT_EQ(record.policy, Policy::kNone);
    EXPECT_NE(record.problem, "");
  }
  const Record below = must_parse("v=DMARC1; sp=reject");
  EXPECT_EQ(below.policy, Policy::kNone);
  EXPECT_EQ(below.subdomain_policy, Policy::kReject);
  EXPECT_EQ(below.nonexistent_policy, Policy::kReject);
}

TEST(DmarcRecordTest, ATagGivenTwiceMustSayTheSame) {
  EXPECT_EQ(must_parse("v=DMARC1; p=reject; P=REJECT").policy, Policy::kReject);
  const Record record = must_parse("v=DMARC1; p=reject; aspf=s; aspf=r; sp=none; sp=none");
  EXPECT_EQ(record.spf_alignment, Alignment::kRelaxed);
  EXPECT_EQ(record.subdomain_policy, Policy::kNone);
}

TEST(DmarcRecordTest, UrisAreCheckedAndTheirLimitsDropped) {
  const Record record = must_parse(
      "v=DMARC1; p=none; rua=mailto:a%2Cb@example.org,https://example.org/r?x=1!50k,"
      "mailto:x@example.org!,mailto:y@example.org!10q,mailto:,no-scheme,mailto:z %20@example.org,"
      "mailto:%zz@example.org,,1a:b,x-y+z.1:ok");
  ASSERT_EQ(record.aggregate_uris.size(), 3U);
  EXPECT_EQ(record.part(record.aggregate_uris[0]), "mailto:a%2Cb@example.org");
  EXPECT_EQ(record.part(record.aggregate_uris[1]), "https://example.org/r?x=1");
  EXPECT_EQ(record.part(record.aggregate_uris[2]), "x-y+z.1:ok");
}

TEST(DmarcRecordTest, TestingWeakensByOneLevel) {
  EXPECT_EQ(weakened(Policy::kReject), Policy::kQuarantine);
  EXPECT_EQ(weakened(Policy::kQuarantine), Policy::kNone);
  EXPECT_EQ(weakened(Policy::kNone), Policy::kNone);
}

TEST(DmarcRecordTest, SeveralRecordsAreKeptAsSuch) {
  EXPECT_EQ(RecordSet({}).state(), RecordSet::State::kNone);
  EXPECT_EQ(RecordSet({"v=spf1 -all", "v=DMARC2"}).state(), RecordSet::State::kNone);
  const RecordSet one({"v=spf1 -all", "v=DMARC1; p=reject"});
  EXPECT_EQ(one.state(), RecordSet::State::kOne);
  EXPECT_EQ(one.record().policy, Policy::kReject);
  EXPECT_EQ(RecordSet({"v=DMARC1; p=reject", "v=DMARC1; p=reject"}).state(),
            RecordSet::State::kSeveral);
}

TEST(DmarcRecordTest, TheParsedFormStaysBesideTheAnswer) {
  dns::Answer answer;
  answer.status = dns::Status::kAnswer;
  answer.texts = {"v=DMARC1; p=reject; rua=mailto:a@example.org"};
  const std::size_t before = answer.bytes();
  const auto first = RecordSet::of(answer);
  EXPECT_EQ(first, RecordSet::of(answer));
  EXPECT_GT(answer.bytes(), before);
}

}  // namespace
}  // namespace mxring::mailauth::dmarc
