// Log-linear histogram of non-negative 64-bit values: each power of two is cut into 32 equal parts,
// so a value is known to within 1/32 (3.2 %); values below 32 are exact. Fixed memory, no
// allocation. One writer thread; readers on other threads see a recent state.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace mxring::obs {

class Histogram {
 public:
  static constexpr unsigned kPartBits = 5;
  static constexpr std::size_t kBuckets = (64 - kPartBits + 1) << kPartBits;

  void record(std::uint64_t value);
  std::uint64_t count() const;
  std::uint64_t max() const { return max_.load(std::memory_order_relaxed); }
  double mean() const;
  std::uint64_t sum() const { return sum_.load(std::memory_order_relaxed); }
  std::uint64_t in_bucket(std::size_t bucket) const {
    return buckets_[bucket].load(std::memory_order_relaxed);
  }
  // Smallest recorded bucket bound that at least `quantile` (0 to 1) of the values do not exceed;
  // 0 when empty. Never above max().
  std::uint64_t percentile(double quantile) const;
  void merge(const Histogram& other);  // owner thread of *this
  void reset();

  static std::size_t bucket_of(std::uint64_t value);
  static std::uint64_t bucket_upper(std::size_t bucket);  // largest value in the bucket

 private:
  std::array<std::atomic<std::uint64_t>, kBuckets> buckets_{};
  std::atomic<std::uint64_t> sum_{0};
  std::atomic<std::uint64_t> max_{0};
};

}  // namespace mxring::obs
