#include "dns/cache.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>
#include <string>

namespace mxring::dns {
namespace {

constexpr base::MonoTime at(std::int64_t seconds) {
  return {seconds * base::kNsPerSecond};
}

Question numbered(std::uint64_t i, Type type = Type::kA) {
  return {*Name::parse("host-" + std::to_string(i) + ".example"), type};
}

AnswerPtr with_ttl(std::uint32_t ttl_s, Status status = Status::kAnswer) {
  auto answer = std::make_shared<Answer>();
  answer->status = status;
  answer->ttl_s = ttl_s;
  return answer;
}

std::size_t resident_bytes() {
  std::ifstream file("/proc/self/statm");
  std::size_t total = 0;
  std::size_t resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

TEST(CacheTest, KeepsForTheTtlWithinItsBounds) {
  struct Case {
    std::uint32_t ttl_s;
    Status status;
    std::int64_t kept_s;
  };
  for (const Case& c : {Case{300, Status::kAnswer, 300}, Case{0, Status::kAnswer, 30},
                        Case{86'400, Status::kAnswer, 3600}, Case{0, Status::kNoName, 30},
                        Case{100'000, Status::kNoData, 3600}, Case{300, Status::kTimeout, 5},
                        Case{300, Status::kServerFailure, 5}}) {
    Cache cache(1 << 20);
    cache.put(numbered(1), with_ttl(c.ttl_s, c.status), at(1000));
    EXPECT_NE(cache.find(numbered(1), {at(1000 + c.kept_s).ns - 1}), nullptr) << c.kept_s;
    EXPECT_EQ(cache.find(numbered(1), at(1000 + c.kept_s)), nullptr) << c.kept_s;
    EXPECT_EQ(cache.entries(), 0U);
    EXPECT_EQ(cache.bytes(), 0U);
  }
}

TEST(CacheTest, TypesAndNamesAreApartCaseIsNot) {
  Cache cache(1 << 20);
  const auto a = with_ttl(300);
  const auto mx = with_ttl(300);
  cache.put({*Name::parse("Example.Org"), Type::kA}, a, at(0));
  cache.put({*Name::parse("example.org"), Type::kMx}, mx, at(0));
  EXPECT_EQ(cache.find({*Name::parse("EXAMPLE.org."), Type::kA}, at(1)), a);
  EXPECT_EQ(cache.find({*Name::parse("example.org"), Type::kMx}, at(1)), mx);
  EXPECT_EQ(cache.find({*Name::parse("example.org"), Type::kTxt}, at(1)), nullptr);
  const auto newer = with_ttl(300);
  cache.put({*Name::parse("example.org"), Type::kA}, newer, at(1));
  EXPECT_EQ(cache.find({*Name::parse("example.org"), Type::kA}, at(2)), newer);
  EXPECT_EQ(cache.entries(), 2U);
}

TEST(CacheTest, TheLeastRecentlyUsedGoes) {
  Cache probe(1 << 20);
  probe.put(numbered(10), with_ttl(300), at(0));
  Cache cache(probe.bytes() * 3);
  for (std::uint64_t i = 10; i < 13; ++i) cache.put(numbered(i), with_ttl(300), at(0));
  EXPECT_NE(cache.find(numbered(10), at(1)), nullptr);
  cache.put(numbered(13), with_ttl(300), at(1));
  EXPECT_EQ(cache.find(numbered(11), at(1)), nullptr);
  EXPECT_NE(cache.find(numbered(10), at(1)), nullptr);
  EXPECT_EQ(cache.stats().evicted, 1U);
}

class LargeForm final : public ParsedForm {
 public:
  LargeForm(const void* tag, std::size_t bytes) : ParsedForm(tag), bytes_(bytes) {}
  std::size_t bytes() const override { return bytes_; }

 private:
  std::size_t bytes_;
};

TEST(CacheTest, ParsedFormsAreKeptBesideAndCounted) {
  static const char mine = 0;
  static const char yours = 0;
  Cache cache(100'000);
  cache.put(numbered(1), with_ttl(300), at(0));
  cache.put(numbered(2), with_ttl(300), at(0));
  const AnswerPtr answer = cache.find(numbered(2), at(0));
  const std::size_t before = cache.bytes();
  answer->set_parsed(std::make_shared<LargeForm>(&mine, 50'000));
  EXPECT_EQ(cache.bytes(), before + 50'000);
  EXPECT_NE(cache.find(numbered(2), at(1))->parsed(&mine), nullptr);
  EXPECT_EQ(answer->parsed(&yours), nullptr);

  // One that does not fit takes its own entry with it; the holder of the answer does not notice.
  const AnswerPtr other = cache.find(numbered(1), at(1));
  other->set_parsed(std::make_shared<LargeForm>(&mine, 200'000));
  EXPECT_LE(cache.bytes(), 100'000U);
  EXPECT_NE(other->parsed(&mine), nullptr);
}

TEST(CacheTest, AnswersOutliveTheCache) {
  AnswerPtr answer;
  static const char tag = 0;
  {
    Cache cache(1 << 20);
    cache.put(numbered(1), with_ttl(300), at(0));
    answer = cache.find(numbered(1), at(0));
  }
  answer->set_parsed(std::make_shared<LargeForm>(&tag, 10));
  EXPECT_NE(answer->parsed(&tag), nullptr);
}

TEST(CacheTest, AgreesWithAMapThatForgetsNothing) {
  Cache cache(std::size_t{64} << 20);
  std::map<std::string, std::pair<AnswerPtr, std::int64_t>> model;
  std::mt19937_64 random(7);
  for (std::int64_t second = 0; second < 20'000; ++second) {
    const Question question = numbered(random() % 500, random() % 2 == 0 ? Type::kA : Type::kTxt);
    const std::string key =
        question.name.to_text() + std::to_string(static_cast<int>(question.type));
    if (random() % 3 == 0) {
      const auto ttl_s = static_cast<std::uint32_t>(30 + random() % 3000);
      const AnswerPtr answer = with_ttl(ttl_s);
      cache.put(question, answer, at(second));
      model[key] = {answer, second + ttl_s};
    } else {
      const auto known = model.find(key);
      const bool valid = known != model.end() && known->second.second > second;
      EXPECT_EQ(cache.find(question, at(second)), valid ? known->second.first : nullptr);
    }
  }
}

// Ten million names that nobody asks for again, while a hundred others are in use all the time.
TEST(CacheTest, AFloodOfNamesLeavesMemoryFlatAndTheHotNamesThere) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  constexpr std::uint64_t kNames = 500'000;
#else
  constexpr std::uint64_t kNames = 10'000'000;
#endif
  constexpr std::size_t kBytesMax = std::size_t{16} << 20;
  constexpr std::uint64_t kHot = 100;
  Cache cache(kBytesMax);
  for (std::uint64_t i = 0; i < kHot; ++i) cache.put(numbered(i), with_ttl(3600), at(0));
  [[maybe_unused]] std::size_t resident_when_full = 0;
  std::uint64_t hot_misses = 0;
  for (std::uint64_t i = 0; i < kNames; ++i) {
    cache.put(numbered(kHot + i), with_ttl(3600), at(1));
    if (i % 16 == 0 && cache.find(numbered(i / 16 % kHot), at(1)) == nullptr) ++hot_misses;
    if (i == kNames / 10) resident_when_full = resident_bytes();
  }
  EXPECT_EQ(hot_misses, 0U);
  EXPECT_LE(cache.bytes(), kBytesMax);
  EXPECT_GT(cache.stats().evicted, kNames * 8 / 10);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  // (The sanitizers keep freed memory for a while.)
  const std::size_t resident = resident_bytes();
  EXPECT_LT(resident - std::min(resident_when_full, resident), std::size_t{4} << 20);
  // What is counted is what is used: within half of it.
  EXPECT_LT(resident_when_full, kBytesMax * 3 / 2 + (std::size_t{16} << 20));
#endif
}

}  // namespace
}  // namespace mxring::dns
