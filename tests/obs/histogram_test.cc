#include "obs/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <vector>

namespace mxring::obs {
namespace {

// The value of that rank among the sorted values, as Histogram::percentile defines the rank.
std::uint64_t exact(const std::vector<std::uint64_t>& sorted, double quantile) {
  const auto rank =
      static_cast<std::size_t>(std::ceil(quantile * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

void expect_within_bound(const Histogram& histogram, std::vector<std::uint64_t> values) {
  std::sort(values.begin(), values.end());
  for (const double quantile : {0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0}) {
    const std::uint64_t truth = exact(values, quantile);
    const std::uint64_t got = histogram.percentile(quantile);
    EXPECT_GE(got, truth) << quantile;
    EXPECT_LE(static_cast<double>(got - truth), static_cast<double>(truth) / 32) << quantile;
  }
  EXPECT_EQ(histogram.max(), values.back());
  EXPECT_EQ(histogram.count(), values.size());
}

TEST(HistogramTest, EmptyAnswersZero) {
  const Histogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.max(), 0U);
  EXPECT_EQ(histogram.mean(), 0);
  EXPECT_EQ(histogram.percentile(0.99), 0U);
}

TEST(HistogramTest, BucketsCoverEveryValueWithoutGaps) {
  EXPECT_EQ(Histogram::bucket_of(0), 0U);
  for (std::size_t bucket = 0; bucket + 1 < Histogram::kBuckets; ++bucket) {
    const std::uint64_t upper = Histogram::bucket_upper(bucket);
    ASSERT_EQ(Histogram::bucket_of(upper), bucket);
    ASSERT_EQ(Histogram::bucket_of(upper + 1), bucket + 1);
  }
  constexpr std::uint64_t kLargest = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(Histogram::bucket_of(kLargest), Histogram::kBuckets - 1);
  EXPECT_EQ(Histogram::bucket_upper(Histogram::kBuckets - 1), kLargest);
}

TEST(HistogramTest, SmallValuesAreExact) {
  Histogram histogram;
  for (std::uint64_t value = 0; value < 32; ++value) histogram.record(value);
  for (std::uint64_t value = 0; value < 32; ++value) {
    EXPECT_EQ(histogram.percentile(static_cast<double>(value + 1) / 32), value);
  }
  EXPECT_DOUBLE_EQ(histogram.mean(), 15.5);
}

TEST(HistogramTest, PercentilesStayWithinOneThirtySecond) {
  std::mt19937_64 random(7);
  const auto try_with = [&](auto&& draw) {
    auto histogram = std::make_unique<Histogram>();
    std::vector<std::uint64_t> values;
    for (int i = 0; i < 50'000; ++i) {
      values.push_back(draw());
      histogram->record(values.back());
    }
    expect_within_bound(*histogram, values);
  };
  std::lognormal_distribution<double> latency(11, 1.5);
  std::uniform_int_distribution<std::uint64_t> uniform(0, 1'000'000);
  std::exponential_distribution<double> steep(1e-9);
  try_with([&] { return static_cast<std::uint64_t>(latency(random)); });
  try_with([&] { return uniform(random); });
  try_with([&] { return static_cast<std::uint64_t>(steep(random)); });
  try_with([&] { return random() >> (random() % 64); });  // every magnitude
  try_with([&] { return std::uint64_t{12'345'678}; });
}

TEST(HistogramTest, MergeIsTheSameAsRecordingBoth) {
  std::mt19937_64 random(3);
  Histogram left;
  Histogram right;
  Histogram both;
  for (int i = 0; i < 5000; ++i) {
    const std::uint64_t value = random() % 100'000;
    (i % 3 == 0 ? left : right).record(value);
    both.record(value);
  }
  left.merge(right);
  EXPECT_EQ(left.count(), both.count());
  EXPECT_EQ(left.max(), both.max());
  EXPECT_DOUBLE_EQ(left.mean(), both.mean());
  for (double quantile = 0; quantile <= 1; quantile += 0.05) {
    EXPECT_EQ(left.percentile(quantile), both.percentile(quantile));
  }
}

TEST(HistogramTest, ResetForgetsEverything) {
  Histogram histogram;
  histogram.record(99);
  histogram.reset();
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.max(), 0U);
  EXPECT_EQ(histogram.percentile(1), 0U);
}

}  // namespace
}  // namespace mxring::obs
