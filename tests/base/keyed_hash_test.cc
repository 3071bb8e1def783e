// What tables that strangers fill rest on: keys differ, and nothing collides by construction.
#include "base/keyed_hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "base/text.h"

namespace mxring::base {
namespace {

TEST(KeyedHashTest, KeysDifferFromTableToTable) {
  const KeyedHash a;
  const KeyedHash b;
  EXPECT_NE(a("name"), b("name"));
  EXPECT_EQ(a("name"), a("name"));
  EXPECT_NE(a("name", 1), a("name", 2));
}

TEST(KeyedHashTest, CaseOfLettersIsIgnoredAndNothingElse) {
  const KeyedHash hash;
  for (int i = 0; i < 256; ++i) {
    for (int k = 0; k < 256; ++k) {
      for (const std::size_t at : {0U, 7U, 8U, 11U}) {
        std::string a(12, 'x');
        std::string b(12, 'x');
        a[at] = static_cast<char>(i);
        b[at] = static_cast<char>(k);
        ASSERT_EQ(hash.ignoring_case(a) == hash.ignoring_case(b), ascii_iequals(a, b))
            << i << ' ' << k;
      }
    }
  }
}

TEST(KeyedHashTest, LengthCounts) {
  const KeyedHash hash;
  std::set<std::uint64_t> seen;
  for (std::size_t size = 0; size < 64; ++size) seen.insert(hash(std::string(size, '\0')));
  EXPECT_EQ(seen.size(), 64U);
}

// Names that differ in one bit each, as one makes them who knows the hash but not its key: in a
// table of as many places no chain becomes long.
TEST(KeyedHashTest, ChainsStayShort) {
  const KeyedHash hash;
  constexpr std::size_t kPlaces = 1 << 14;
  std::vector<int> chains(kPlaces);
  for (std::size_t i = 0; i < kPlaces; ++i) {
    std::string name(14, '[');
    for (std::size_t bit = 0; bit < 14; ++bit) {
      if ((i >> bit & 1) != 0) name[bit] = '{';
    }
    ++chains[hash.ignoring_case(name) % kPlaces];
  }
  // Of as many balls as bins the fullest bin has 7 or so.
  EXPECT_LE(std::ranges::max(chains), 14);
}

TEST(RandomTest, ASeedRepeatsItself) {
  seed_random(7);
  const std::uint64_t first = random_u64();
  const std::uint64_t second = random_u64();
  EXPECT_NE(first, second);
  seed_random(7);
  EXPECT_EQ(random_u64(), first);
  EXPECT_EQ(random_u64(), second);
  seed_random(8);
  EXPECT_NE(random_u64(), first);
}

}  // namespace
}  // namespace mxring::base
