#include "cli/time_argument.h"

#include <gtest/gtest.h>

namespace mxring::cli {
namespace {

constexpr base::WallTime kNow{1'795'309'323'500'000};  // 2026-11-22T01:02:03.5Z

TEST(TimeArgument, MomentsAreRead) {
  const struct {
    const char* text;
    std::int64_t unix_us;
  } cases[] = {
      {"1970-01-01", 0},
      {"2026-11-22", 1'795'305'600'000'000},
      {"2026-11-22T01:02:03Z", 1'795'309'323'000'000},
      {"2026-11-22T01:02:03", 1'795'309'323'000'000},
      {"2026-11-22 01:02:03z", 1'795'309'323'000'000},
      {"2026-11-22t01:02Z", 1'795'309'320'000'000},
      {"2026-11-22T01:02:03.5Z", 1'795'309'323'500'000},
      {"2026-11-22T01:02:03.123456789Z", 1'795'309'323'123'456},
      {"2026-11-22T03:02:03+02:00", 1'795'309'323'000'000},
      {"2026-11-21T20:32:03-04:30", 1'795'309'323'000'000},
      {"2024-02-29", 1'709'164'800'000'000},
      {"@1795309323", 1'795'309'323'000'000},
      {"0", kNow.us},
      {"now", kNow.us},
      {"500ms", kNow.us - 500'000},
      {"15m", kNow.us - 900'000'000},
      {"7d", kNow.us - 604'800'000'000},
  };
  for (const auto& c : cases) EXPECT_EQ(parse_time(c.text, kNow), c.unix_us) << c.text;
}

TEST(TimeArgument, NonsenseIsRefused) {
  for (const char* text :
       {"", "yesterday", "2026", "2026-13-01", "2026-02-30", "2026-11-22T", "2026-11-22T25:00:00Z",
        "2026-11-22T01:60:00Z", "2026-11-22T01:02:03.Z", "2026-11-22T01:02:03+0200",
        "2026-11-22T01:02:03Zjunk", "2026-11-22T01:02:03+25:00", "@", "@x", "@-1",
        "@99999999999999999999", "5", "5 bananas", "-5m"}) {
    EXPECT_EQ(parse_time(text, kNow), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace mxring::cli
