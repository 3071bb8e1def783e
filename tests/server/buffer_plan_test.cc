#include "server/buffer_plan.h"

#include <gtest/gtest.h>

namespace mxring::server {
namespace {

Config of(std::uint64_t message_bytes, std::uint64_t memory_bytes, std::uint32_t offered = 256,
          std::uint32_t buffer_bytes = 16 * 1024) {
  Config config = default_config();
  config.limits.message_bytes = message_bytes;
  config.limits.header_bytes = 16 * base::kKiB;
  config.limits.memory_bytes = memory_bytes;
  config.shards.buffers_offered = offered;
  config.shards.buffer_bytes = buffer_bytes;
  return config;
}

TEST(BufferPlan, MemoryIsNotShortBeforeAnythingIsHeld) {
  for (const std::uint64_t memory : {2, 3, 4, 8, 16, 64, 256}) {
    for (const std::uint32_t offered : {8U, 64U, 256U, 4096U}) {
      const BufferPlan plan = plan_buffers(of(base::kMiB, memory * base::kMiB, offered));
      const std::uint32_t free = plan.pool.buffers - plan.pool.offered;
      EXPECT_GT(free, plan.low) << memory << " MiB, " << offered;
      EXPECT_LE(plan.pool.buffers, 32'768U);
    }
  }
}

TEST(BufferPlan, TwoMessagesOfMemoryHoldOne) {
  for (const std::uint64_t mib : {1, 2, 25, 100}) {
    EXPECT_TRUE(holds_a_message(of(mib * base::kMiB, 2 * mib * base::kMiB)));
  }
}

TEST(BufferPlan, BuffersThatAreTooLargeHoldNone) {
  EXPECT_FALSE(holds_a_message(of(40 * base::kKiB, 80 * base::kKiB, 8, 64 * 1024)));
  const auto valid = validate(of(40 * base::kKiB, 80 * base::kKiB, 8, 64 * 1024));
  ASSERT_FALSE(valid.has_value());
  EXPECT_NE(valid.error().message.find("limits.memory"), std::string::npos)
      << valid.error().message;
}

TEST(BufferPlan, OfTheDefaultsASixteenthIsKept) {
  const BufferPlan plan = plan_buffers(default_config());
  EXPECT_EQ(plan.low, plan.pool.buffers / 16);
}

}  // namespace
}  // namespace mxring::server
