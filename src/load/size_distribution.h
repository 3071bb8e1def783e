// How large the messages are: one size, a range drawn from evenly, or the mix called "mail".
//
// "mail" is log-normal with median 12 KiB and sigma 1.6, cut at 1 KiB and 10 MiB: many small
// messages and a few large ones that carry most of the bytes. Its mean is about 40 KiB. The
// parameters are a starting guess, not taken from anybody's traffic.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "load/random.h"

namespace mxring::load {

class SizeDistribution {
 public:
  static constexpr std::uint64_t kSizeMax = 256ULL << 20;

  static SizeDistribution fixed(std::uint64_t bytes) { return {Kind::kRange, bytes, bytes}; }
  // "10240", "10KiB", "1KiB-100KiB", "mail". Nothing when it is none of these, when the range is
  // upside down or a size is above kSizeMax.
  static std::optional<SizeDistribution> parse(std::string_view text);

  std::uint64_t draw(Random& random) const;
  std::uint64_t min() const { return min_; }
  std::uint64_t max() const { return max_; }

 private:
  enum class Kind : std::uint8_t { kRange, kMail };
  SizeDistribution(Kind kind, std::uint64_t min, std::uint64_t max)
      : kind_(kind), min_(min), max_(max) {}

  Kind kind_;
  std::uint64_t min_;
  std::uint64_t max_;
};

}  // namespace mxring::load
