// The lanes against wolfCrypt: the same public operation over random and hostile numbers. What
// wolfCrypt computes must match, and the same with any bit changed must not.
//
// MXRING_RSA_CASES in the environment is the number of numbers, 48000 when it is not set.
#include "crypto/rsa_lanes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "crypto/rsa_modulus.h"

namespace mxring::crypto {
namespace {

using Octets = std::vector<std::uint8_t>;
using Random = std::mt19937_64;

std::size_t case_count() {
  const char* const wanted = std::getenv("MXRING_RSA_CASES");
  return wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 48'000;
}

Octets random_octets(Random& random, std::size_t size) {
  Octets out(size);
  for (std::uint8_t& octet : out) octet = static_cast<std::uint8_t>(random());
  return out;
}

// Runs of ones and zeros: they make carries travel.
Octets random_runs(Random& random, std::size_t size) {
  Octets out(size);
  for (std::size_t i = 0; i < size;) {
    const std::size_t end = std::min(size, i + 1 + random() % 20);
    const auto octet = static_cast<std::uint8_t>(random() % 2 == 0 ? 0xff : 0x00);
    for (; i < end; ++i) out[i] = octet;
    if (random() % 2 == 0) out[end - 1] = static_cast<std::uint8_t>(random());
  }
  return out;
}

// A number of exactly `bits` bits.
void set_top(Octets& number, std::uint32_t bits) {
  const unsigned top_bits = (bits - 1) % 8 + 1;
  number[0] =
      static_cast<std::uint8_t>((number[0] & ((1U << top_bits) - 1)) | 1U << (top_bits - 1));
}

Octets modulus_of(Random& random, std::uint32_t bits) {
  const std::size_t size = (bits + 7) / 8;
  Octets out(size, 0);
  switch (random() % 8) {
    case 0:  // 2^bits - 1
      out.assign(size, 0xff);
      break;
    case 1: {  // just below a power of two
      out.assign(size, 0xff);
      const std::uint64_t low = random();
      for (std::size_t i = 0; i < 1 + low % 8; ++i) {
        out[size - 1 - i] = static_cast<std::uint8_t>(low >> (8 * i));
      }
      break;
    }
    case 2:  // 2^(bits-1) + 1
      break;
    case 3: {  // just above a power of two
      const std::uint64_t low = random();
      for (std::size_t i = 0; i < 1 + low % 8; ++i) {
        out[size - 1 - i] = static_cast<std::uint8_t>(low >> (8 * i));
      }
      break;
    }
    case 4:  // the top octet as low as can be, or as high
      out = random_octets(random, size);
      out[0] = random() % 2 == 0 ? 0x00 : 0xff;
      break;
    case 5:
      out = random_runs(random, size);
      break;
    default:
      out = random_octets(random, size);
  }
  if (random() % 8 == 0) {  // lowest digits that make the quotient's factor special
    const std::uint8_t low = random() % 2 == 0 ? 0x00 : 0xff;
    for (std::size_t i = 0; i < 7; ++i) out[size - 1 - i] = low;
  }
  if (bits % 8 != 0) out[0] &= static_cast<std::uint8_t>((1U << bits % 8) - 1);
  set_top(out, bits);
  out.back() |= 1;
  return out;
}

Octets minus_small(const Octets& number, unsigned small) {
  Octets out = number;
  unsigned borrow = small;
  for (std::size_t i = out.size(); i-- > 0 && borrow != 0;) {
    const unsigned octet = out[i];
    out[i] = static_cast<std::uint8_t>(octet - borrow);
    borrow = octet < borrow ? 1 : 0;
  }
  return out;
}

Octets base_below(Random& random, const Octets& modulus) {
  const std::size_t size = modulus.size();
  Octets out(size, 0);
  switch (random() % 8) {
    case 0:
      out.back() = static_cast<std::uint8_t>(random() % 3);
      break;
    case 1:
      return minus_small(modulus, 1 + static_cast<unsigned>(random() % 3));
    case 2:  // a power of two
      out[1 + random() % (size - 1)] = static_cast<std::uint8_t>(1U << random() % 8);
      break;
    case 3:
      out = random_runs(random, size);
      break;
    default:
      out = random_octets(random, size);
  }
  if (out >= modulus) out[0] = 0;
  if (out >= modulus) out[1] = 0;  // 2^k + 1 has a top octet of one
  return out < modulus ? out : Octets(size, 0);
}

std::uint32_t bits_of(Random& random, std::size_t size) {
  // Each size of the lanes from the least modulus it gets to the largest it can take.
  static constexpr std::array<std::pair<std::uint32_t, std::uint32_t>, kLaneDigits.size()> kRange =
      {{{512, 1038}, {1039, 1662}, {1663, 2078}, {2079, 3118}, {3119, 4096}}};
  static constexpr std::array<std::uint32_t, kLaneDigits.size()> kUsual = {1024, 1536, 2048, 3072,
                                                                           4096};
  const auto [low, high] = kRange[size];
  switch (random() % 4) {
    case 0:
      return low + static_cast<std::uint32_t>(random() % (high - low + 1));
    case 1:
      return random() % 2 == 0 ? low : high;
    default:
      return kUsual[size];
  }
}

struct Case {
  Octets modulus;
  Octets base;
  Octets result;
  LaneModulus lane;
  bool changed = false;

  std::string text() const {
    std::string out = "modulus ";
    static constexpr char kDigits[] = "0123456789abcdef";
    for (const Octets* number : {&modulus, &base}) {
      for (const std::uint8_t octet : *number) {
        out += kDigits[octet >> 4];
        out += kDigits[octet & 15];
      }
      out += " base ";
    }
    return out;
  }
};

Case make_case(Random& random, std::size_t size) {
  Case made;
  const std::uint32_t bits = bits_of(random, size);
  made.modulus = modulus_of(random, bits);
  made.base = base_below(random, made.modulus);
  made.result.resize(made.modulus.size());
  EXPECT_TRUE(public_operation(made.modulus, kLaneExponent, made.base, made.result));
  made.lane = prepare_for_lanes(made.modulus, bits);
  EXPECT_EQ(made.lane.size, size);
  if (random() % 4 == 0) {
    // Another number below the modulus.
    Octets other = made.result;
    const std::size_t bit = random() % (8 * other.size());
    other[bit / 8] ^= static_cast<std::uint8_t>(1U << bit % 8);
    if (other < made.modulus) {
      made.result = other;
      made.changed = true;
    }
  }
  return made;
}

TEST(RsaLanes, SizesHoldTheirModuli) {
  EXPECT_EQ(lane_size(512), 0U);
  EXPECT_EQ(lane_size(1038), 0U);
  EXPECT_EQ(lane_size(1039), 1U);
  EXPECT_EQ(lane_size(1662), 1U);
  EXPECT_EQ(lane_size(1663), 2U);
  EXPECT_EQ(lane_size(2078), 2U);
  EXPECT_EQ(lane_size(2079), 3U);
  EXPECT_EQ(lane_size(3118), 3U);
  EXPECT_EQ(lane_size(3119), 4U);
  EXPECT_EQ(lane_size(4096), 4U);
}

TEST(RsaLanes, DigitsOfOctets) {
  const Octets number = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xfe,
                         0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10, 0x0f};
  std::array<std::uint64_t, 4> digits{};
  to_digits(digits, number);
  EXPECT_EQ(digits[0], 0xa98765432100fULL);
  EXPECT_EQ(digits[1], 0x89abcdeffedcbULL);
  EXPECT_EQ(digits[2], 0x01234567ULL);
  EXPECT_EQ(digits[3], 0U);
}

TEST(RsaLanes, AgreeWithWolfCrypt) {
  if (!lanes_available()) GTEST_SKIP() << "no AVX-512 IFMA on this processor";
  Random random(20261122);
  const auto scratch = make_lane_scratch();
  // The large sizes cost wolfCrypt 20 times the small ones: fewer of them.
  static constexpr std::array<std::size_t, 8> kMix = {0, 0, 2, 2, 2, 1, 3, 4};
  std::size_t matches = 0;
  std::size_t others = 0;
  const std::size_t batches = case_count() / kLanes;
  for (std::size_t batch = 0; batch < batches; ++batch) {
    const std::size_t size = kMix[batch % kMix.size()];
    std::vector<Case> cases;
    std::array<LaneInput, kLanes> inputs;
    for (LaneInput& input : inputs) {
      input = {};
      cases.push_back(make_case(random, size));
    }
    for (std::size_t i = 0; i < kLanes; ++i) {
      inputs[i] = {.modulus = cases[i].lane.digits.data(),
                   .r_squared = cases[i].lane.digits.data() + kLaneDigits[size],
                   .n0_inverse = cases[i].lane.n0_inverse,
                   .signature = cases[i].base.data(),
                   .encoding = cases[i].result.data(),
                   .octets = cases[i].modulus.size()};
    }
    const unsigned mask = match_lanes(*scratch, size, inputs);
    for (std::size_t i = 0; i < kLanes; ++i) {
      const bool match = (mask >> i & 1) != 0;
      ASSERT_EQ(match, !cases[i].changed) << batch << ' ' << i << ' ' << cases[i].text();
      ++(match ? matches : others);
    }
  }
  RecordProperty("matches", std::to_string(matches));
  RecordProperty("others", std::to_string(others));
  EXPECT_GT(matches, others);
  EXPECT_GT(others, 0U);
}

}  // namespace
}  // namespace mxring::crypto
