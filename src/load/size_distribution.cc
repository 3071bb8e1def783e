#include "load/size_distribution.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/assert.h"
#include "base/units.h"

namespace mxring::load {

namespace {

constexpr double kMailMedianBytes = 12.0 * 1024;
constexpr double kMailSigma = 1.6;
constexpr std::uint64_t kMailMinBytes = 1024;
constexpr std::uint64_t kMailMaxBytes = 10ULL << 20;
static_assert(kMailMinBytes < kMailMaxBytes && kMailMaxBytes <= SizeDistribution::kSizeMax);

// Box and Muller's transform; the second value it could give is not worth keeping.
double draw_normal(Random& random) {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - random.unit()));
  return radius * std::cos(2.0 * std::numbers::pi * random.unit());
}

}  // namespace

std::optional<SizeDistribution> SizeDistribution::parse(std::string_view text) {
  if (text == "mail") return SizeDistribution{Kind::kMail, kMailMinBytes, kMailMaxBytes};
  const std::size_t dash = text.find('-');
  const auto min = base::parse_bytes(text.substr(0, dash));
  const auto max = dash == std::string_view::npos ? min : base::parse_bytes(text.substr(dash + 1));
  if (!min || !max || *min == 0 || *min > *max || *max > kSizeMax) return std::nullopt;
  return SizeDistribution{Kind::kRange, *min, *max};
}

std::uint64_t SizeDistribution::draw(Random& random) const {
  MXRING_ASSERT(min_ > 0 && min_ <= max_);
  if (kind_ == Kind::kRange) return min_ + random.below(max_ - min_ + 1);
  const double size = kMailMedianBytes * std::exp(kMailSigma * draw_normal(random));
  return static_cast<std::uint64_t>(
      std::clamp(size, static_cast<double>(min_), static_cast<double>(max_)));
}

}  // namespace mxring::load
