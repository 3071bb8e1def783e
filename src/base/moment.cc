#include "base/moment.h"

#include <charconv>
#include <chrono>

#include "base/units.h"

namespace mxring::base {

namespace {

constexpr std::int64_t kUsPerSecond = 1'000'000;

// Takes digits off the front of a text, each step failing once one has failed.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  int digits(std::size_t count) {
    int value = 0;
    if (text_.size() < count) return fail();
    for (std::size_t i = 0; i < count; ++i) {
      if (text_[i] < '0' || text_[i] > '9') return fail();
      value = value * 10 + (text_[i] - '0');
    }
    text_.remove_prefix(count);
    return value;
  }
  void want(char c) {
    if (!take(c)) fail();
  }
  bool take(char c) {
    if (!text_.starts_with(c)) return false;
    text_.remove_prefix(1);
    return true;
  }
  // The digits behind a decimal point, as microseconds; further ones are dropped.
  std::int64_t fraction_us() {
    std::int64_t value = 0;
    std::int64_t unit = kUsPerSecond / 10;
    if (text_.empty() || text_[0] < '0' || text_[0] > '9') return fail();
    while (!text_.empty() && text_[0] >= '0' && text_[0] <= '9') {
      value += (text_[0] - '0') * unit;
      unit /= 10;
      text_.remove_prefix(1);
    }
    return value;
  }
  bool at_end() const { return text_.empty(); }
  bool good() const { return good_; }
  int fail() {
    good_ = false;
    return 0;
  }

 private:
  std::string_view text_;
  bool good_ = true;
};

std::int64_t zone_seconds(Scanner& scan) {
  if (scan.at_end() || scan.take('Z') || scan.take('z')) return 0;
  const int sign = scan.take('-') ? -1 : 1;
  if (sign == 1) scan.want('+');
  const int hours = scan.digits(2);
  scan.want(':');
  const int minutes = scan.digits(2);
  if (hours > 23 || minutes > 59) scan.fail();
  return sign * (hours * 3600 + minutes * 60);
}

std::optional<std::int64_t> parse_rfc3339(std::string_view text) {
  Scanner scan(text);
  const int year = scan.digits(4);
  scan.want('-');
  const int month = scan.digits(2);
  scan.want('-');
  const int day = scan.digits(2);
  std::int64_t second_of_day = 0;
  std::int64_t fraction_us = 0;
  std::int64_t zone = 0;
  if (scan.good() && !scan.at_end()) {
    if (!scan.take('T') && !scan.take('t')) scan.want(' ');
    const int hour = scan.digits(2);
    scan.want(':');
    const int minute = scan.digits(2);
    int second = 0;
    if (scan.take(':')) {
      second = scan.digits(2);
      if (scan.take('.')) fraction_us = scan.fraction_us();
    }
    zone = zone_seconds(scan);
    if (hour > 23 || minute > 59 || second > 60) scan.fail();
    second_of_day = hour * 3600 + minute * 60 + second;
  }
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(year), std::chrono::month(unsigned(month)),
                            std::chrono::day(unsigned(day))};
  if (!scan.good() || !scan.at_end() || !date.ok()) return std::nullopt;
  const std::int64_t days = sys_days(date).time_since_epoch().count();
  return (days * 86'400 + second_of_day - zone) * kUsPerSecond + fraction_us;
}

}  // namespace

std::optional<std::int64_t> parse_time(std::string_view text, WallTime now) {
  if (text == "now") return now.us;
  if (text.starts_with('@')) {
    std::int64_t seconds = 0;
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data() + 1, end, seconds);
    constexpr std::int64_t kSecondsMax = 253'402'300'799;  // the year 9999
    if (error != std::errc{} || at != end || seconds < 0 || seconds > kSecondsMax) {
      return std::nullopt;
    }
    return seconds * kUsPerSecond;
  }
  if (const auto ago_ns = parse_duration_ns(text)) return now.us - *ago_ns / 1000;
  return parse_rfc3339(text);
}

}  // namespace mxring::base
