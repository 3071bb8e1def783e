#include "base/crc32c.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::base {
namespace {

std::uint32_t both_ways(std::string_view bytes) {
  const std::uint32_t chosen = crc32c(0, bytes.data(), bytes.size());
  EXPECT_EQ(chosen, crc32c_portable(0, bytes.data(), bytes.size()));
  return chosen;
}

// RFC 3720 B.4, "CRC Examples", and the check value of the polynomial's catalogue entry.
TEST(Crc32cTest, KnownAnswers) {
  EXPECT_EQ(both_ways(""), 0U);
  EXPECT_EQ(both_ways("123456789"), 0xE3069283U);
  EXPECT_EQ(both_ways(std::string(32, '\0')), 0x8A9136AAU);
  EXPECT_EQ(both_ways(std::string(32, '\xFF')), 0x62A8AB43U);
  std::string ascending(32, '\0');
  std::iota(ascending.begin(), ascending.end(), '\0');
  EXPECT_EQ(both_ways(ascending), 0x46DD794EU);
  EXPECT_EQ(both_ways(std::string(ascending.rbegin(), ascending.rend())), 0x113FDB5CU);
}

// One bit at a time, straight from the definition.
std::uint32_t bit_by_bit(std::string_view bytes) {
  std::uint32_t crc = ~0U;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
  }
  return ~crc;
}

TEST(Crc32cTest, EveryLengthAndAlignmentAgreesWithTheDefinition) {
  std::mt19937 random(11);
  std::string bytes(6000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  for (std::size_t length = 0; length < 64; ++length) {
    for (std::size_t at = 0; at < 9; ++at) {
      const std::string_view part(bytes.data() + at, length);
      ASSERT_EQ(both_ways(part), bit_by_bit(part));
    }
  }
  // Around one, two and three rounds of the three interleaved streams.
  for (const std::size_t middle : {1536U, 3072U, 4608U}) {
    for (std::size_t length = middle - 9; length <= middle + 9; ++length) {
      const std::string_view part(bytes.data() + length % 7, length);
      ASSERT_EQ(both_ways(part), bit_by_bit(part)) << length;
    }
  }
}

TEST(Crc32cTest, AnySplitGivesTheSame) {
  std::mt19937 random(5);
  std::string bytes(20'000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  const std::uint32_t whole = both_ways(bytes);
  for (int round = 0; round < 300; ++round) {
    std::uint32_t mixed = 0;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t reach = random() % 3 == 0 ? 5000 : 40;
      const std::size_t length = std::min<std::size_t>(random() % reach, bytes.size() - at);
      mixed = random() % 2 == 0 ? crc32c(mixed, bytes.data() + at, length)
                                : crc32c_portable(mixed, bytes.data() + at, length);
      at += length;
    }
    ASSERT_EQ(mixed, whole);
  }
}

TEST(Crc32cTest, EverySingleFlippedBitIsNoticed) {
  std::string bytes = "From: a@example.org\r\n\r\nbody\r\n";
  const std::uint32_t before = crc32c(0, bytes.data(), bytes.size());
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_NE(crc32c(0, bytes.data(), bytes.size()), before);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << (bit % 8)));
  }
}

}  // namespace
}  // namespace mxring::base
