// Sheets written and read, and those that are none.
#include "report/delivery_sheet.h"

#include <gtest/gtest.h>

#include "tests/report/samples.h"
#include "tests/support/temp_dir.h"

namespace mxring::report {
namespace {

DeliverySheet sample_sheet() {
  DeliverySheet sheet;
  sheet.policy_domain = "example.org";
  sheet.report_id = "0123abcd";
  sheet.submitter = "mx.example";
  sheet.organization = "Example \"&\" S\u00f6hne";
  sheet.email = "dmarc@mx.example";
  sheet.period = {100, 199};
  sheet.deliveries.resize(5);
  for (std::size_t i = 0; i < 5; ++i) {
    Delivery& delivery = sheet.deliveries[i];
    delivery.address = "d" + std::to_string(i) + "@example.org";
    delivery.host = "example.org";
    delivery.state = static_cast<DeliveryState>(i);
    delivery.attempts = static_cast<std::uint32_t>(i);
    delivery.last_reply = "550 no \x01 thanks";
    delivery.server = "mx [192.0.2.1]:25";
    delivery.tls = i == 1 ? "TLSv1.3 TLS_AES_128_GCM_SHA256" : "";
    delivery.tried_since_s = static_cast<std::int64_t>(i) * 1000;
  }
  return sheet;
}

TEST(DeliverySheetTest, WrittenAndReadIsTheSame) {
  const DeliverySheet sheet = sample_sheet();
  const std::string json = to_json(sheet);
  const auto again = parse_sheet(json);
  ASSERT_TRUE(again) << again.error();
  EXPECT_EQ(to_json(*again), json);
  EXPECT_EQ(again->organization, sheet.organization);
  EXPECT_EQ(again->period.end_s, 199);
  EXPECT_EQ(again->deliveries[3].state, DeliveryState::kTooLarge);
  EXPECT_EQ(again->deliveries[4].state, DeliveryState::kGivenUp);
  EXPECT_EQ(again->deliveries[4].tried_since_s, 4000);
  EXPECT_EQ(again->deliveries[1].tls, sheet.deliveries[1].tls);
  EXPECT_TRUE(again->waiting());
}

TEST(DeliverySheetTest, WaitingIsAboutAnyOfThem) {
  DeliverySheet sheet = sample_sheet();
  sheet.deliveries[0].state = DeliveryState::kSent;
  EXPECT_FALSE(sheet.waiting());
}

TEST(DeliverySheetTest, WhatIsNoSheet) {
  const std::string json = to_json(sample_sheet());
  EXPECT_FALSE(parse_sheet(""));
  EXPECT_FALSE(parse_sheet("[]"));
  EXPECT_FALSE(parse_sheet("{}"));
  EXPECT_FALSE(parse_sheet(json.substr(0, json.size() / 2)));
  EXPECT_FALSE(parse_sheet(test::with(json, R"("begin":100)", R"("begin":-1)")));
  EXPECT_FALSE(parse_sheet(test::with(json, R"("begin":100)", R"("begin":"100")")));
  EXPECT_FALSE(parse_sheet(test::with(json, R"("state":"waiting")", R"("state":"late")")));
  // Nothing that would say more to a mail server than an address.
  EXPECT_FALSE(parse_sheet(test::with(json, "d0@example.org", R"(d0@example.org>\r\nDATA)")));
  EXPECT_FALSE(parse_sheet(test::with(json, "dmarc@mx.example", "a b@mx.example")));
  EXPECT_FALSE(parse_sheet(test::with(json, R"("report_id":"0123abcd")", R"("report_id":"a\nb")")));
}

TEST(DeliverySheetTest, FilesAreReplacedWhole) {
  const test::TempDir folder;
  const auto path = sheet_path(folder.path() / "a!b!1!2!id.xml.gz");
  EXPECT_TRUE(path.string().ends_with("!id.xml.gz.json"));
  EXPECT_FALSE(read_sheet(path));
  ASSERT_TRUE(write_file(path, "nonsense"));
  EXPECT_FALSE(read_sheet(path));
  ASSERT_TRUE(write_file(path, to_json(sample_sheet())));
  const auto sheet = read_sheet(path);
  ASSERT_TRUE(sheet) << sheet.error();
  EXPECT_EQ(sheet->deliveries.size(), 5U);
  EXPECT_EQ(read_file(path, 10).has_value(), false);
  EXPECT_EQ(*read_file(path, 1 << 20), to_json(sample_sheet()));
  EXPECT_FALSE(write_file(folder.path() / "missing" / "x", "x"));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

}  // namespace
}  // namespace mxring::report
