#include "load/schedule.h"

#include <charconv>
#include <limits>
#include <numeric>

#include "base/assert.h"
#include "base/clock.h"

namespace mxring::load {

namespace {

constexpr std::uint64_t kDecimalsMax = 3;
constexpr std::uint64_t kPerSecondMax = 10'000'000;
constexpr std::uint64_t kCountMax = 1'000'000'000;
static_assert(kDecimalsMax < 10 && kPerSecondMax <= kCountMax);

std::optional<std::uint64_t> period_of(std::string_view unit) {
  constexpr std::uint64_t kSecond = base::kNsPerSecond;
  if (unit.empty() || unit == "/s") return kSecond;
  if (unit == "/m") return 60 * kSecond;
  if (unit == "/h") return 3600 * kSecond;
  return std::nullopt;
}

}  // namespace

std::optional<Rate> Rate::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  std::string_view digits = text.substr(0, slash);
  const auto period = period_of(slash == std::string_view::npos ? "" : text.substr(slash));
  if (!period) return std::nullopt;

  Rate rate{0, *period};
  const std::size_t point = digits.find('.');
  const std::string_view decimals =
      point == std::string_view::npos ? std::string_view() : digits.substr(point + 1);
  if (decimals.size() > kDecimalsMax || (point != std::string_view::npos && decimals.empty())) {
    return std::nullopt;
  }
  const auto add = [&rate](std::string_view part) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (error != std::errc{} || end != part.data() + part.size()) return false;
    rate.count += number;
    return rate.count <= kCountMax;
  };
  if (!add(digits.substr(0, point))) return std::nullopt;
  for (std::size_t i = 0; i < decimals.size(); ++i) {
    rate.count *= 10;
    rate.period_ns *= 10;
  }
  if (rate.count > kCountMax || (!decimals.empty() && !add(decimals))) return std::nullopt;
  if (rate.count == 0 || rate.per_second() > static_cast<double>(kPerSecondMax)) {
    return std::nullopt;
  }
  const std::uint64_t common = std::gcd(rate.count, rate.period_ns);
  MXRING_ASSERT(common > 0);
  rate.count /= common;
  rate.period_ns /= common;
  constexpr auto kProductMax = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (rate.period_ns > kProductMax / rate.count) return std::nullopt;
  return rate;
}

// k * period / count in two parts: (k % count) * period stays below count * period, which fits.
std::int64_t Schedule::planned_ns(std::uint64_t nth) const {
  MXRING_ASSERT(rate_.count > 0 && rate_.period_ns > 0);
  const std::uint64_t k = number(nth);
  const std::uint64_t whole = k / rate_.count * rate_.period_ns;
  return static_cast<std::int64_t>(whole + k % rate_.count * rate_.period_ns / rate_.count);
}

std::uint64_t Schedule::count_among(std::uint64_t messages) const {
  MXRING_ASSERT(workers_ > 0 && worker_ < workers_);
  return messages <= worker_ ? 0 : (messages - worker_ - 1) / workers_ + 1;
}

// planned(k) is a quotient rounded down, so it is below ns exactly when k * period < ns * count:
// the answer is ns * count / period, rounded up.
std::uint64_t Schedule::count_before(std::int64_t ns) const {
  if (ns <= 0) return 0;
  MXRING_ASSERT(rate_.period_ns > 0);
  const auto time = static_cast<std::uint64_t>(ns);
  const std::uint64_t rest = time % rate_.period_ns * rate_.count;
  const std::uint64_t all =
      time / rate_.period_ns * rate_.count + (rest + rate_.period_ns - 1) / rate_.period_ns;
  return count_among(all);
}

}  // namespace mxring::load
