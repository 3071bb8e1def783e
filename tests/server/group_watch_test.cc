#include "server/group_watch.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mxring::server {
namespace {

GroupFacts group(std::string name, std::string state, double lag_seconds = 0) {
  GroupFacts facts;
  facts.group = std::move(name);
  facts.state = std::move(state);
  facts.lag = lag_seconds > 0 ? 7 : 0;
  facts.lag_seconds = lag_seconds;
  return facts;
}

struct Watched {
  std::vector<std::string> said;
  GroupWatch watch{"/log", [this](const std::string& line) { said.push_back(line); }};

  std::vector<std::string> look(const std::vector<GroupFacts>& groups) {
    said.clear();
    watch.look(groups);
    return said;
  }
};

TEST(GroupWatch, SaysChangesOnly) {
  Watched on;
  EXPECT_TRUE(on.look({group("a", "running", 899), group("b", "idle")}).empty());
  auto said = on.look({group("a", "running", 901), group("b", "idle")});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0],
            "warning: group a is 15 minutes late, with 7 records to go: its reader is slow, or "
            "waits for its sink; `mxring groups describe /log a`");
  EXPECT_TRUE(on.look({group("a", "running", 5000), group("b", "idle")}).empty());
  said = on.look({group("a", "running", 3), group("b", "idle", 7200)});
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(said[0], "group a is well again");
  EXPECT_NE(said[1].find("b is 120 minutes late, with 7 records to go: no reader is at work"),
            std::string::npos);
}

TEST(GroupWatch, WhatStopsItIsSaidAndEscaped) {
  Watched on;
  GroupFacts broken = group("a", "foreign-log", 5000);
  broken.error = "the cursor is of another log,\nx";
  const auto said = on.look({broken});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].find("warning: group a cannot go on: the cursor is of another log,\\"), 0U);
  EXPECT_EQ(said[0].find('\n'), std::string::npos);
  EXPECT_TRUE(on.look({broken}).empty());
  // From one trouble to the other is news; a group that was deleted is none, and is forgotten.
  EXPECT_EQ(on.look({group("a", "paused", 5000)}).size(), 1U);
  EXPECT_TRUE(on.look({}).empty());
  EXPECT_EQ(on.look({group("a", "paused", 5000)}).size(), 1U);
}

TEST(GroupWatch, AThousandAtOnceAreSaidInTurns) {
  Watched on;
  std::vector<GroupFacts> all;
  for (int i = 0; i < 25; ++i) all.push_back(group("g" + std::to_string(i), "idle", 1000));
  EXPECT_EQ(on.look(all).size(), 10U);
  EXPECT_EQ(on.look(all).size(), 10U);
  EXPECT_EQ(on.look(all).size(), 5U);
  EXPECT_TRUE(on.look(all).empty());
}

}  // namespace
}  // namespace mxring::server
