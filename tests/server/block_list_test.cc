// Block list entries, the names asked for, and what answers mean (RFC 5782).
#include "server/block_list.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "server/block_list_check.h"

namespace mxring::server {
namespace {

using Reading = BlockList::Reading;

BlockList list(std::string_view entry) {
  auto parsed = BlockList::parse(entry);
  EXPECT_TRUE(parsed.has_value()) << parsed.error();
  return *parsed;
}

dns::Answer answer(const std::vector<std::string>& addresses) {
  dns::Answer made;
  made.status = dns::Status::kAnswer;
  for (const std::string& text : addresses) {
    made.addresses.push_back(*base::IpAddress::parse(text));
  }
  return made;
}

TEST(BlockListTest, NamesAskedFor) {
  EXPECT_EQ(list("bl.example").question(*base::IpAddress::parse("192.0.2.99"))->name.to_text(),
            "99.2.0.192.bl.example");
  EXPECT_EQ(list("bl.example").question(*base::IpAddress::parse("2001:db8::1"))->name.to_text(),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example");
}

TEST(BlockListTest, WhatAnswersMean) {
  const BlockList any = list("bl.example");
  EXPECT_EQ(any.read(answer({"127.0.0.2"})), Reading::kListed);
  EXPECT_EQ(any.read(answer({"127.0.1.4", "127.0.0.11"})), Reading::kListed);
  EXPECT_EQ(any.read(answer({"127.255.255.254"})), Reading::kNoUse) << "refuses to answer us";
  EXPECT_EQ(any.read(answer({"127.255.254.1"})), Reading::kListed);
  EXPECT_EQ(any.read(answer({"127.0.0.1"})), Reading::kNoUse) << "a resolver blocks the list";
  EXPECT_EQ(any.read(answer({"203.0.113.5"})), Reading::kNoUse) << "the zone was sold";
  EXPECT_EQ(any.read(answer({"127.0.0.2", "203.0.113.5"})), Reading::kNoUse);
  dns::Answer none;
  none.status = dns::Status::kNoName;
  EXPECT_EQ(any.read(none), Reading::kNotListed);
  for (const dns::Status status : {dns::Status::kServerFailure, dns::Status::kTimeout}) {
    none.status = status;
    EXPECT_EQ(any.read(none), Reading::kNoUse);
  }
  const BlockList some = list("bl.example=127.0.0.2/31");
  EXPECT_EQ(some.read(answer({"127.0.0.3"})), Reading::kListed);
  EXPECT_EQ(some.read(answer({"127.0.0.4"})), Reading::kNotListed);
  EXPECT_EQ(list("bl.example=127.0.0.4").read(answer({"127.0.0.4"})), Reading::kListed);
}

TEST(BlockListTest, EntriesThatAreNone) {
  for (const char* entry : {"", "=127.0.0.2", "bl..example", "bl.example=", "bl.example=128.0.0.1",
                            "bl.example=::1", "bl.example=127.0.0.2/33", "bl.example=127.0.0.0/7",
                            "bl.example=127.0.0.3/31", "bl.example=127.0.0.2/", "bl example"}) {
    EXPECT_FALSE(BlockList::parse(entry).has_value()) << entry;
  }
}

TEST(BlockListTest, WhoIsAskedAbout) {
  for (const char* no : {"127.0.0.1", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1",
                         "169.254.1.1", "100.64.0.1", "::1", "fe80::1", "fd00::1"}) {
    EXPECT_FALSE(is_asked_about(*base::IpAddress::parse(no))) << no;
  }
  for (const char* yes : {"192.0.2.1", "172.32.0.1", "100.128.0.1", "11.0.0.1", "2001:db8::1"}) {
    EXPECT_TRUE(is_asked_about(*base::IpAddress::parse(yes))) << yes;
  }
}

TEST(BlockListTest, TheAddressThatNoListNames) {
  const BlockList one = list("bl.example");
  EXPECT_EQ(one.control_question(*base::IpAddress::parse("192.0.2.1"))->name.to_text(),
            "1.0.0.127.bl.example");
  EXPECT_EQ(one.control_question(*base::IpAddress::parse("2001:db8::1"))->name.to_text(),
            "1.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.bl.example");
}

TEST(BlockListTest, AListOfNoUseIsSaidOnceAndSoIsItsReturn) {
  std::vector<std::string> said;
  BlockListHealth health([&said](const std::string& line) { said.push_back(line); });
  base::MonoTime now{base::kNsPerSecond};
  for (int i = 0; i < 3; ++i) health.heard("b.example", false, now);
  health.heard("a.example", true, now);
  ASSERT_EQ(said.size(), 1U);
  EXPECT_NE(said[0].find("block list b.example gives no answer"), std::string::npos);
  for (int i = 0; i < 3; ++i) health.heard("b.example", true, now);
  ASSERT_EQ(said.size(), 2U);
  EXPECT_NE(said[1].find("again"), std::string::npos);
  // One that comes and goes is not told of each time.
  health.heard("b.example", false, now);
  health.heard("b.example", true, now);
  EXPECT_EQ(said.size(), 2U);
  now = now + 601 * base::kNsPerSecond;
  health.heard("b.example", false, now);
  EXPECT_EQ(said.size(), 3U);
}

}  // namespace
}  // namespace mxring::server
