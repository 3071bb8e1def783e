#include "base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <ctime>
#include <limits>

#include "base/assert.h"

namespace mxring::base {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

constexpr std::array kByteUnits{Unit{"", 1},
                                Unit{"B", 1},
                                Unit{"KiB", 1ULL << 10},
                                Unit{"MiB", 1ULL << 20},
                                Unit{"GiB", 1ULL << 30},
                                Unit{"TiB", 1ULL << 40},
                                Unit{"KB", 1000ULL},
                                Unit{"MB", 1000000ULL},
                                Unit{"GB", 1000000000ULL},
                                Unit{"TB", 1000000000000ULL}};

constexpr std::array kTimeUnits{Unit{"ns", 1},
                                Unit{"us", 1000},
                                Unit{"ms", 1'000'000},
                                Unit{"s", 1'000'000'000},
                                Unit{"m", 60'000'000'000},
                                Unit{"h", 3'600'000'000'000},
                                Unit{"d", 86'400'000'000'000}};

// `too_large`: the form is right, the value is not.
template <std::size_t N>
std::optional<std::uint64_t> parse_scaled(std::string_view text, const std::array<Unit, N>& units,
                                          std::uint64_t max, bool& too_large) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::result_out_of_range) number = std::numeric_limits<std::uint64_t>::max();
  if (error == std::errc::invalid_argument) return std::nullopt;
  std::string_view suffix = text.substr(static_cast<std::size_t>(end - text.data()));
  while (suffix.starts_with(' ')) suffix.remove_prefix(1);
  if (number == 0 && suffix.empty()) return 0;
  for (const Unit& unit : units) {
    if (suffix != unit.name) continue;
    if (error != std::errc{} || number > max / unit.factor) {
      too_large = true;
      return std::nullopt;
    }
    return number * unit.factor;
  }
  return std::nullopt;
}

std::optional<std::int64_t> scaled_duration(std::string_view text, bool& too_large) {
  const auto ns =
      parse_scaled(text, kTimeUnits, std::numeric_limits<std::int64_t>::max(), too_large);
  return ns ? std::optional(static_cast<std::int64_t>(*ns)) : std::nullopt;
}

}  // namespace

std::optional<std::uint64_t> parse_bytes(std::string_view text) {
  bool too_large = false;
  return parse_scaled(text, kByteUnits, std::numeric_limits<std::uint64_t>::max(), too_large);
}

std::optional<std::int64_t> parse_duration_ns(std::string_view text) {
  bool too_large = false;
  return scaled_duration(text, too_large);
}

std::string duration_problem(std::string_view text, std::int64_t min_ns, std::int64_t max_ns) {
  MXRING_ASSERT(min_ns >= 0 && min_ns <= max_ns);
  const bool negative = text.starts_with('-');
  bool too_large = false;
  const auto ns = scaled_duration(negative ? text.substr(1) : text, too_large);
  if (!ns && !too_large) return "not a duration; write 250ms, 30s or 7d";
  if (negative || (ns && *ns < min_ns)) {
    return min_ns == 1 ? "too short: more than 0 is needed"
                       : fmt::format("too short: at least {}", plain_duration(min_ns));
  }
  if (too_large || *ns > max_ns) return fmt::format("too long: at most {}", plain_duration(max_ns));
  return {};
}

std::string plain_duration(std::int64_t ns) {
  constexpr std::array kUnits{Unit{"d", 86'400'000'000'000}, Unit{"h", 3'600'000'000'000},
                              Unit{"m", 60'000'000'000},     Unit{"s", 1'000'000'000},
                              Unit{"ms", 1'000'000},         Unit{"us", 1'000}};
  for (const Unit& unit : kUnits) {
    const auto factor = static_cast<std::int64_t>(unit.factor);
    if (ns != 0 && ns % factor == 0) return fmt::format("{}{}", ns / factor, unit.name);
  }
  return ns == 0 ? "0" : fmt::format("{}ns", ns);
}

std::string format_bytes(std::uint64_t bytes) {
  static constexpr std::array kNames{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  auto scaled = static_cast<double>(bytes);
  while (scaled >= 1024 && unit + 1 < kNames.size()) {
    scaled /= 1024;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}", scaled, scaled < 10 ? 2 : 1, kNames[unit]);
}

std::string format_duration(std::int64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns < 1000) return fmt::format("{} ns", ns);
  if (ns < 1'000'000) return fmt::format("{:.1f} us", value / 1e3);
  if (ns < 1'000'000'000) return fmt::format("{:.2f} ms", value / 1e6);
  if (ns < 120'000'000'000) return fmt::format("{:.1f} s", value / 1e9);
  return fmt::format("{:.1f} min", value / 6e10);
}

std::string format_count(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3;) {
    at -= 3;
    digits.insert(at, 1, ',');
  }
  return digits;
}

std::string counted(std::uint64_t count, std::string_view one, std::string_view many) {
  const std::string number = format_count(count);
  if (count == 1) return fmt::format("{} {}", number, one);
  return many.empty() ? fmt::format("{} {}s", number, one) : fmt::format("{} {}", number, many);
}

std::string format_wall_time(std::int64_t unix_us) {
  const std::int64_t seconds = unix_us >= 0 ? unix_us / 1'000'000 : (unix_us - 999'999) / 1'000'000;
  const std::time_t time = seconds;
  std::tm utc{};
  gmtime_r(&time, &utc);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", utc.tm_year + 1900,
                     utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec,
                     (unix_us - seconds * 1'000'000) / 1000);
}

}  // namespace mxring::base
