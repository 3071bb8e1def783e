#include "obs/histogram.h"

#include <algorithm>
#include <cmath>

#include "base/assert.h"

namespace mxring::obs {

namespace {

// One writer: a relaxed load and store is enough, and cheaper than a locked add.
void bump(std::atomic<std::uint64_t>& value, std::uint64_t by) {
  value.store(value.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

}  // namespace

std::size_t Histogram::bucket_of(std::uint64_t value) {
  constexpr std::uint64_t kParts = 1U << kPartBits;
  if (value < kParts) return static_cast<std::size_t>(value);
  const auto exponent = static_cast<unsigned>(std::bit_width(value)) - 1;  // >= kPartBits
  const unsigned shift = exponent - kPartBits;
  const std::uint64_t part = (value >> shift) - kParts;
  return (static_cast<std::size_t>(shift + 1) << kPartBits) + static_cast<std::size_t>(part);
}

std::uint64_t Histogram::bucket_upper(std::size_t bucket) {
  constexpr std::uint64_t kParts = 1U << kPartBits;
  MXRING_ASSERT(bucket < kBuckets);
  if (bucket < kParts) return bucket;
  const auto shift = static_cast<unsigned>(bucket >> kPartBits) - 1;
  const std::uint64_t part = bucket & (kParts - 1);
  return ((kParts + part + 1) << shift) - 1;
}

void Histogram::record(std::uint64_t value) {
  MXRING_ASSERT(bucket_of(value) < kBuckets);
  bump(buckets_[bucket_of(value)], 1);
  bump(sum_, value);
  if (value > max_.load(std::memory_order_relaxed)) max_.store(value, std::memory_order_relaxed);
}

std::uint64_t Histogram::count() const {
  std::uint64_t total = 0;
  for (const auto& bucket : buckets_) total += bucket.load(std::memory_order_relaxed);
  return total;
}

double Histogram::mean() const {
  const std::uint64_t n = count();
  if (n == 0) return 0;
  return static_cast<double>(sum_.load(std::memory_order_relaxed)) / static_cast<double>(n);
}

std::uint64_t Histogram::percentile(double quantile) const {
  const std::uint64_t n = count();
  if (n == 0) return 0;
  const double wanted = std::ceil(std::clamp(quantile, 0.0, 1.0) * static_cast<double>(n));
  const auto rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted));
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i].load(std::memory_order_relaxed);
    if (seen >= rank) return std::min(bucket_upper(i), max());
  }
  return max();
}

void Histogram::merge(const Histogram& other) {
  MXRING_ASSERT(&other != this);
  for (std::size_t i = 0; i < kBuckets; ++i) {
    bump(buckets_[i], other.buckets_[i].load(std::memory_order_relaxed));
  }
  bump(sum_, other.sum_.load(std::memory_order_relaxed));
  max_.store(std::max(max(), other.max()), std::memory_order_relaxed);
}

void Histogram::reset() {
  for (auto& bucket : buckets_) bucket.store(0, std::memory_order_relaxed);
  sum_.store(0, std::memory_order_relaxed);
  max_.store(0, std::memory_order_relaxed);
}

}  // namespace mxring::obs
