// Retention and the groups that hold: what stays for them, and what goes all the same.
#include "base/clock.h"
#include "seglog/group_reader.h"
#include "tests/seglog/log_fixture.h"

namespace mxring::seglog::test {
namespace {

class HoldTest : public LogTest {
 protected:
  WriterOptions holding(std::uint64_t hold_bytes, bool drop) const {
    WriterOptions options = small();
    options.retain_bytes = 200 << 10;
    options.hold_bytes = hold_bytes;
    options.drop_when_hold_full = drop;
    return options;
  }
  void make_group(bool holds = true) {
    GroupOptions options;
    options.holds = holds;
    ASSERT_TRUE(GroupReader::open(directory(), "g", options, base::read_clocks()));
  }
  Offset first() const { return LogReader::open(directory())->first(); }
};

TEST_F(HoldTest, WhatAGroupHasNotDealtWithStays) {
  Writer writer = open_or_die(holding(0, false));
  append(writer, 12);
  make_group();
  for (int i = 0; i < 200; ++i) append(writer, 12);
  writer.maintain(base::read_clocks());
  EXPECT_EQ(first(), 0U);
  EXPECT_EQ(writer.held().group, "g");
  EXPECT_EQ(writer.held().next, 0U);
  EXPECT_GT(writer.held().bytes, 0U);
  EXPECT_FALSE(writer.held().full);
  // Dealt with: what lies before it goes.
  {
    auto reader = GroupReader::open(directory(), "g", {}, base::read_clocks());
    ASSERT_TRUE(reader);
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(reader->next());
    ASSERT_TRUE(reader->commit(1000, base::read_clocks()));
    ASSERT_TRUE(reader->flush(base::read_clocks()));
  }
  writer.maintain(base::read_clocks());
  EXPECT_GT(first(), 0U);
  EXPECT_LE(first(), 1000U);
  EXPECT_EQ(writer.held().next, 1000U);
}

TEST_F(HoldTest, AGroupThatDoesNotHoldKeepsNothing) {
  Writer writer = open_or_die(holding(0, false));
  append(writer, 12);
  make_group(false);
  for (int i = 0; i < 200; ++i) append(writer, 12);
  EXPECT_GT(first(), 0U);
  auto reader = GroupReader::open(directory(), "g", {}, base::read_clocks());
  ASSERT_TRUE(reader);
  const auto step = reader->next();
  ASSERT_TRUE(step && step->gap);
  EXPECT_EQ(step->gap->first, 0U);
  EXPECT_EQ(step->gap->next, first());
  EXPECT_TRUE(step->gap->removed);
}

TEST_F(HoldTest, MoreThanTheyMayHoldIsSaid) {
  Writer writer = open_or_die(holding(100 << 10, false));
  append(writer, 12);
  make_group();
  for (int i = 0; i < 200; ++i) append(writer, 12);
  writer.maintain(base::read_clocks());
  EXPECT_EQ(first(), 0U);
  EXPECT_TRUE(writer.held().full);
  EXPECT_GT(writer.held().bytes, 100U << 10);
}

TEST_F(HoldTest, DroppedIsExactlyTheGapThatIsCounted) {
  Writer writer = open_or_die(holding(100 << 10, true));
  append(writer, 12);
  {
    auto reader = GroupReader::open(directory(), "g", {}, base::read_clocks());
    ASSERT_TRUE(reader);
    for (int i = 0; i < 7; ++i) ASSERT_TRUE(reader->next());
    ASSERT_TRUE(reader->commit(7, base::read_clocks()));
    ASSERT_TRUE(reader->flush(base::read_clocks()));
  }
  for (int i = 0; i < 200; ++i) append(writer, 12);
  writer.maintain(base::read_clocks());
  ASSERT_GT(first(), 7U);
  EXPECT_FALSE(writer.held().full);
  EXPECT_EQ(writer.dropped().at("g"), first() - 7);
  const auto removals = writer.take_removals();
  ASSERT_FALSE(removals.empty());
  EXPECT_EQ(removals.back().why, RemovedFor::kHoldFull);
  auto reader = GroupReader::open(directory(), "g", {}, base::read_clocks());
  ASSERT_TRUE(reader);
  const auto step = reader->next();
  ASSERT_TRUE(step && step->gap);
  EXPECT_EQ(step->gap->first, 7U);
  EXPECT_EQ(step->gap->next, first());
}

TEST_F(HoldTest, WithoutABoundTheDiskReserveDecidesWhatIsDropped) {
  Writer writer = open_or_die(holding(0, true));
  append(writer, 12);
  make_group();
  for (int i = 0; i < 200; ++i) append(writer, 12);
  writer.maintain(base::read_clocks(), false);
  EXPECT_EQ(first(), 0U);
  writer.maintain(base::read_clocks(), true);
  EXPECT_GT(first(), 0U);
}

TEST_F(HoldTest, ADamagedCursorHoldsEverything) {
  Writer writer = open_or_die(holding(0, false));
  append(writer, 12);
  make_group();
  write_file(directory() / kGroupsName / "g.cursor", "rubbish");
  for (int i = 0; i < 200; ++i) append(writer, 12);
  writer.maintain(base::read_clocks());
  EXPECT_EQ(first(), 0U);
  EXPECT_TRUE(writer.held().damaged);
}

TEST_F(HoldTest, GroupsThatCannotBeReadKeepEverything) {
  Writer writer = open_or_die(holding(0, false));
  append(writer, 12);
  fs::remove_all(directory() / kGroupsName);
  write_file(directory() / kGroupsName, "no folder");
  for (int i = 0; i < 200; ++i) append(writer, 12);
  writer.maintain(base::read_clocks());
  EXPECT_EQ(first(), 0U);
  EXPECT_TRUE(writer.held().unknown);
}

}  // namespace
}  // namespace mxring::seglog::test
