#include "base/units.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

namespace mxring::base {
namespace {

TEST(UnitsTest, ReadsBytes) {
  EXPECT_EQ(parse_bytes("0"), 0U);
  EXPECT_EQ(parse_bytes("4096"), 4096U);
  EXPECT_EQ(parse_bytes("64KiB"), 65'536U);
  EXPECT_EQ(parse_bytes("25 MiB"), 26'214'400U);
  EXPECT_EQ(parse_bytes("1GiB"), 1U << 30);
  EXPECT_EQ(parse_bytes("500MB"), 500'000'000U);
  EXPECT_EQ(parse_bytes("2TiB"), 2ULL << 40);
  EXPECT_EQ(parse_bytes("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
}

TEST(UnitsTest, RefusesBytesThatAreNone) {
  for (const char* text : {"", " ", "-1", "+1", "1.5MiB", "MiB", "1mib", "1 MiB ", "1XB", "0x10",
                           "18446744073709551616", "16777216TiB", " 1"}) {
    EXPECT_FALSE(parse_bytes(text).has_value()) << '"' << text << '"';
  }
}

TEST(UnitsTest, ReadsDurations) {
  EXPECT_EQ(parse_duration_ns("0"), 0);
  EXPECT_EQ(parse_duration_ns("0s"), 0);
  EXPECT_EQ(parse_duration_ns("17ns"), 17);
  EXPECT_EQ(parse_duration_ns("5us"), 5000);
  EXPECT_EQ(parse_duration_ns("250ms"), 250'000'000);
  EXPECT_EQ(parse_duration_ns("30s"), 30'000'000'000);
  EXPECT_EQ(parse_duration_ns("5m"), 300'000'000'000);
  EXPECT_EQ(parse_duration_ns("2h"), 7'200'000'000'000);
  EXPECT_EQ(parse_duration_ns("7 d"), 604'800'000'000'000);
}

TEST(UnitsTest, RefusesDurationsThatAreNone) {
  for (const char* text :
       {"", "5", "s", "-5s", "1.5s", "5S", "5 sec", "9223372036854775808ns", "106752d"}) {
    EXPECT_FALSE(parse_duration_ns(text).has_value()) << '"' << text << '"';
  }
  EXPECT_TRUE(parse_duration_ns("106751d").has_value());
}

TEST(UnitsTest, WhatIsWrongWithADuration) {
  constexpr std::int64_t kDay = 86'400'000'000'000;
  EXPECT_EQ(duration_problem("30s"), "");
  EXPECT_EQ(duration_problem("7d", 1, 7 * kDay), "");
  EXPECT_EQ(duration_problem("0", 0), "");
  for (const char* text : {"", "s", "30", "1.5s", "30 bananas", "--3s", "99999999999999999999"}) {
    EXPECT_EQ(duration_problem(text), "not a duration; write 250ms, 30s or 7d") << text;
  }
  for (const char* text : {"0", "0s", "-3s"}) {
    EXPECT_EQ(duration_problem(text), "too short: more than 0 is needed") << text;
  }
  EXPECT_EQ(duration_problem("1ms", 2'000'000), "too short: at least 2ms");
  EXPECT_EQ(duration_problem("8d", 1, 7 * kDay), "too long: at most 7d");
  for (const char* text : {"36501d", "9223372036854775807h", "99999999999999999999999s"}) {
    EXPECT_EQ(duration_problem(text), "too long: at most 36500d") << text;
  }
}

TEST(UnitsTest, PlainDurationsAreReadBack) {
  for (const char* text : {"0", "1ns", "1500us", "250ms", "90s", "5m", "25h", "7d", "36500d"}) {
    EXPECT_EQ(plain_duration(*parse_duration_ns(text)), text);
  }
}

TEST(UnitsTest, WritesForPeople) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(1024), "1.00 KiB");
  EXPECT_EQ(format_bytes(3 << 19), "1.50 MiB");
  EXPECT_EQ(format_bytes(100ULL << 30), "100.0 GiB");
  EXPECT_EQ(format_duration(999), "999 ns");
  EXPECT_EQ(format_duration(1500), "1.5 us");
  EXPECT_EQ(format_duration(1'250'000), "1.25 ms");
  EXPECT_EQ(format_duration(3'000'000'000), "3.0 s");
  EXPECT_EQ(format_duration(180'000'000'000), "3.0 min");
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(1000), "1,000");
  EXPECT_EQ(format_count(1'234'567), "1,234,567");
  EXPECT_EQ(counted(0, "record"), "0 records");
  EXPECT_EQ(counted(1, "record"), "1 record");
  EXPECT_EQ(counted(1'234, "record"), "1,234 records");
  EXPECT_EQ(counted(1, "piece of advice", "pieces of advice"), "1 piece of advice");
  EXPECT_EQ(counted(2, "piece of advice", "pieces of advice"), "2 pieces of advice");
}

TEST(UnitsTest, WritesWallTimeInUtc) {
  EXPECT_EQ(format_wall_time(0), "1970-01-01T00:00:00.000Z");
  EXPECT_EQ(format_wall_time(1'795'309'323'456'789), "2026-11-22T01:02:03.456Z");
  EXPECT_EQ(format_wall_time(951'782'400'000'000), "2000-02-29T00:00:00.000Z");
  EXPECT_EQ(format_wall_time(-1), "1969-12-31T23:59:59.999Z");
}

}  // namespace
}  // namespace mxring::base
