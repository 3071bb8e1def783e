#include "server/cpu_layout.h"

#include <gtest/gtest.h>

namespace mxring::server {
namespace {

using Cpus = std::vector<int>;

TEST(CpuLayout, OneShardPerCoreWhenThereAreFew) {
  const CpuLayout layout = lay_out_cpus({{0, 1}, 0}, 0, true);
  EXPECT_EQ(layout.shard_cpus, (Cpus{0, 1}));
  EXPECT_EQ(layout.writer_cpu, -1);
}

TEST(CpuLayout, TheWriterGetsACoreWhenThereAreFour) {
  const CpuLayout layout = lay_out_cpus({{2, 3, 4, 5}, 0}, 0, true);
  EXPECT_EQ(layout.shard_cpus, (Cpus{2, 3, 4}));
  EXPECT_EQ(layout.writer_cpu, 5);
}

TEST(CpuLayout, AQuotaBelowTheMaskLimitsShardsAndUnpins) {
  const CpuLayout layout = lay_out_cpus({{0, 1, 2, 3, 4, 5, 6, 7}, 1.5}, 0, true);
  EXPECT_EQ(layout.shard_cpus, (Cpus{-1, -1}));
  EXPECT_EQ(layout.writer_cpu, -1);
}

TEST(CpuLayout, AGivenCountIsObeyed) {
  EXPECT_EQ(lay_out_cpus({{0, 1, 2}, 0}, 2, true).shard_cpus, (Cpus{0, 1}));
  EXPECT_EQ(lay_out_cpus({{0, 1, 2}, 0}, 2, true).writer_cpu, 2);
  EXPECT_EQ(lay_out_cpus({{0}, 0}, 3, true).shard_cpus, (Cpus{-1, -1, -1}));
  EXPECT_EQ(lay_out_cpus({{0, 1}, 0}, 2, false).shard_cpus, (Cpus{-1, -1}));
}

TEST(CpuLayout, SomethingSensibleWithoutFacts) {
  EXPECT_EQ(lay_out_cpus({}, 0, true).shard_cpus, (Cpus{-1}));
}

}  // namespace
}  // namespace mxring::server
