#include "mail/date_time.h"

#include <array>
#include <chrono>

#include "base/text.h"

namespace mxring::mail {

namespace {

constexpr std::string_view kMonths[] = {"jan", "feb", "mar", "apr", "may", "jun",
                                        "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::size_t kDateBytesMax = 256;

struct Zone {
  std::string_view name;
  int minutes;
};
// RFC 5322 4.3: all other names stand for -0000. JST is no name of the standard, but the mail of a
// country.
constexpr Zone kZones[] = {{"edt", -240}, {"est", -300}, {"cdt", -300},
                           {"cst", -360}, {"mdt", -360}, {"mst", -420},
                           {"pdt", -420}, {"pst", -480}, {"jst", 540}};

bool is_letter(char c) {
  return base::ascii_lower(c) >= 'a' && base::ascii_lower(c) <= 'z';
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Words, numbers with their sign, and colons; comments and everything else are passed over.
class DateText {
 public:
  explicit DateText(std::string_view text) : rest_(text.substr(0, kDateBytesMax)) {}

  std::string_view next() {
    skip();
    if (rest_.empty()) return {};
    std::size_t end = 1;
    if (is_letter(rest_[0])) {
      while (end < rest_.size() && is_letter(rest_[end])) ++end;
    } else if (is_digit(rest_[0]) || is_sign(0)) {
      while (end < rest_.size() && is_digit(rest_[end])) ++end;
    }
    const std::string_view word = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return word;
  }

 private:
  bool is_sign(std::size_t at) const {
    return (rest_[at] == '+' || rest_[at] == '-') && at + 1 < rest_.size() &&
           is_digit(rest_[at + 1]);
  }
  void skip() {
    std::size_t depth = 0;
    while (!rest_.empty()) {
      const char c = rest_[0];
      if (c == '(') {
        ++depth;
      } else if (c == ')') {
        if (depth > 0) --depth;
      } else if (depth == 0 && (is_letter(c) || is_digit(c) || c == ':' || is_sign(0))) {
        return;
      }
      rest_.remove_prefix(1);
    }
  }

  std::string_view rest_;
};

std::optional<int> number(std::string_view word) {
  if (word.empty() || word.size() > 5) return std::nullopt;
  int value = 0;
  for (const char c : word) {
    if (!is_digit(c)) return std::nullopt;
    value = value * 10 + (c - '0');
  }
  return value;
}

int month_of(std::string_view word) {
  for (int i = 0; i < 12; ++i) {
    if (word.size() >= 3 && base::ascii_iequals(word.substr(0, 3), kMonths[i])) return i + 1;
  }
  return 0;
}

std::optional<int> zone_minutes(std::string_view word) {
  if (word.empty()) return 0;
  if (word[0] == '+' || word[0] == '-') {
    const auto digits = number(word.substr(1));
    if (!digits || word.size() != 5 || *digits % 100 > 59) return std::nullopt;
    const int minutes = *digits / 100 * 60 + *digits % 100;
    return word[0] == '-' ? -minutes : minutes;
  }
  for (const Zone& zone : kZones) {
    if (base::ascii_iequals(word, zone.name)) return zone.minutes;
  }
  return 0;
}

}  // namespace

std::optional<std::int64_t> parse_date(std::string_view value) {
  DateText text(value);
  std::string_view word = text.next();
  if (!word.empty() && is_letter(word[0]) && month_of(word) == 0) word = text.next();  // day name
  int month = month_of(word);
  if (month != 0) word = text.next();
  const auto day = number(word);
  word = text.next();
  if (month == 0) {
    if (word.starts_with('-')) word.remove_prefix(1);
    month = month_of(word);
    word = text.next();
  }
  if (word.starts_with('-')) word.remove_prefix(1);  // "26-Jul-2003"
  auto year = number(word);
  const auto hour = number(text.next());
  if (!day || month == 0 || !year || !hour || text.next() != ":") return std::nullopt;
  const std::size_t year_digits = word.size();
  if (year_digits <= 2) *year += *year < 50 ? 2000 : 1900;
  if (year_digits == 3) *year += 1900;
  const auto minute = number(text.next());
  word = text.next();
  std::optional<int> second = 0;
  if (word == ":") {
    second = number(text.next());
    word = text.next();
  }
  if (word.size() > 1 && (base::ascii_iequals(word, "am") || base::ascii_iequals(word, "pm"))) {
    return std::nullopt;
  }
  const auto zone = zone_minutes(word);
  if (!minute || !second || !zone) return std::nullopt;
  if (*hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(*year),
                            std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  return sys_days(date).time_since_epoch().count() * 86'400LL + *hour * 3600LL + *minute * 60LL +
         *second - *zone * 60LL;
}

}  // namespace mxring::mail
