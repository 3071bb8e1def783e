#include "cli/progress.h"

#include <gtest/gtest.h>

namespace mxring::cli {
namespace {

TEST(Progress, LineShowsTheShare) {
  EXPECT_EQ(progress_line("verify", 0, "0 records", 80),
            "verify [........................]   0%  0 records");
  EXPECT_EQ(progress_line("verify", 0.5, "n", 80), "verify [############............]  50%  n");
  EXPECT_EQ(progress_line("verify", 1, "n", 80), "verify [########################] 100%  n");
}

TEST(Progress, OutOfRangeIsClamped) {
  EXPECT_EQ(progress_line("x", 7, "", 80), progress_line("x", 1, "", 80));
  EXPECT_EQ(progress_line("x", -1, "", 80), progress_line("x", 0, "", 80));
}

TEST(Progress, NarrowTerminalCutsTheLine) {
  EXPECT_EQ(progress_line("verify", 0.5, "12,345 records", 20).size(), 20u);
}

}  // namespace
}  // namespace mxring::cli
