#include "obs/counters.h"

#include <gtest/gtest.h>

#include <cctype>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace mxring::obs {
namespace {

TEST(CountersTest, EachThreadOwnsASetAndSumsSeeAll) {
  constexpr std::uint64_t kEach = 100'000;
  CounterRegistry registry;
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    CounterSet& set = registry.make_set("thread " + std::to_string(i));
    threads.emplace_back([&set] {
      for (std::uint64_t n = 0; n < kEach; ++n) {
        set.add(Counter::kCommands);
        set.add(Counter::kBytesReceived, 10);
      }
    });
  }
  // A reader while they run: values only grow.
  std::uint64_t last = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t now = registry.sum(Counter::kCommands);
    ASSERT_GE(now, last);
    last = now;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(registry.sum(Counter::kCommands), 3 * kEach);
  EXPECT_EQ(registry.sum(Counter::kBytesReceived), 30 * kEach);
  EXPECT_EQ(registry.sum(Counter::kTimeouts), 0U);
}

TEST(CountersTest, SetReplaces) {
  CounterRegistry registry;
  CounterSet& set = registry.make_set("one");
  set.add(Counter::kLoopCpuNs, 5);
  set.set(Counter::kLoopCpuNs, 1000);
  EXPECT_EQ(registry.sum(Counter::kLoopCpuNs), 1000U);
}

TEST(CountersTest, SetsDoNotMoveWhenMoreAreMade) {
  CounterRegistry registry;
  CounterSet& first = registry.make_set("first");
  for (int i = 0; i < 100; ++i) registry.make_set("more");
  first.add(Counter::kCommits);
  EXPECT_EQ(registry.sum(Counter::kCommits), 1U);
}

TEST(CountersTest, NamesAreDistinctAndWellFormed) {
  std::set<std::pair<std::string_view, std::string_view>> names;  // with their label's value
  for (std::size_t i = 0; i < static_cast<std::size_t>(Counter::kCount); ++i) {
    const CounterInfo& about = info(static_cast<Counter>(i));
    EXPECT_TRUE(names.emplace(about.name, about.value).second) << about.name << about.value;
    EXPECT_EQ(about.label.empty(), about.value.empty()) << about.name;
    // Counters end in _total (in _seconds_total); gauges in their unit or in what they count.
    EXPECT_TRUE(about.name.ends_with("_total") || about.name.ends_with("_bytes") ||
                about.name == "connections_by_activity")
        << about.name;
    EXPECT_FALSE(about.help.empty()) << about.name;
    for (const char c : about.name) {
      EXPECT_TRUE(c == '_' || std::isdigit(static_cast<unsigned char>(c)) != 0 ||
                  std::islower(static_cast<unsigned char>(c)) != 0)
          << about.name;
    }
  }
}

}  // namespace
}  // namespace mxring::obs
