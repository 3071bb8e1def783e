#include "cli/top_screen.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/text.h"
#include "base/units.h"

namespace mxring::cli {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kBarColumns = 20;
constexpr std::size_t kGroupsShown = 8;

double number(const Json& of, const char* key) {
  const auto found = of.find(key);
  return found == of.end() || !found->is_number() ? 0 : found->get<double>();
}

std::string text(const Json& of, const char* key) {
  const auto found = of.find(key);
  return found == of.end() || !found->is_string() ? std::string()
                                                  : base::escaped(found->get<std::string>());
}

const Json& member(const Json& of, const char* key) {
  static const Json kNone = Json::object();
  const auto found = of.find(key);
  return found == of.end() ? kNone : *found;
}

std::string rate(double value) {
  return value >= 100 ? fmt::format("{:.0f}", value) : fmt::format("{:.1f}", value);
}

std::string size(double value) {
  return base::format_bytes(static_cast<std::uint64_t>(std::max(value, 0.0)));
}

std::string duration(const Json& of, const char* key) {
  const auto found = of.find(key);
  if (found == of.end() || !found->is_number()) return "-";
  return base::format_duration(static_cast<std::int64_t>(found->get<double>() * 1e9));
}

class Screen {
 public:
  explicit Screen(std::size_t rows) : rows_(rows) {}

  void line(std::string text) {
    if (rows_ != 0 && lines_ >= rows_) return;
    ++lines_;
    out_ += cut(std::move(text)) + '\n';
  }
  std::string take() { return std::move(out_); }

 private:
  // At a character's border.
  static std::string cut(std::string text) {
    std::size_t columns = 0;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t step =
          std::max<std::size_t>(base::utf8_sequence(std::string_view(text).substr(at)), 1);
      if (++columns > kTopColumns) {
        text.resize(at);
        break;
      }
      at += step;
    }
    return text;
  }

  std::size_t rows_;
  std::size_t lines_ = 0;
  std::string out_;
};

// Words that together fill lines: "idle 12  data 3".
void wrapped(Screen& screen, const std::string& title, const std::vector<std::string>& words) {
  std::string line = fmt::format("{:<9}", title);
  for (const std::string& word : words) {
    if (line.size() + word.size() + 2 > kTopColumns) {
      screen.line(std::move(line));
      line = std::string(9, ' ');
    }
    line += word + "  ";
  }
  if (words.empty()) line += "none";
  screen.line(std::move(line));
}

void head(Screen& screen, const Json& live) {
  screen.line(
      fmt::format("mxring {} on {}, up {}, {}", text(live, "version"), text(live, "hostname"),
                  base::plain_duration(static_cast<std::int64_t>(number(live, "uptime_seconds")) *
                                       1'000'000'000),
                  text(live, "time")));
  if (!live.value("accepting", false)) {
    screen.line(fmt::format("NOT ACCEPTING MAIL: {}", text(live, "reason")));
  }
  const Json& per = member(live, "per_second");
  screen.line(fmt::format("last {:.0f} s: {} messages/s, {}/s in, {} connections/s, {} commits/s",
                          number(live, "window_seconds"), rate(number(per, "messages")),
                          size(number(per, "bytes_received")), rate(number(per, "connections")),
                          rate(number(per, "commits"))));
  screen.line(fmt::format("refused {}/s, deferred {}/s, quarantined {}/s, TLS {}/s ({} failed/s)",
                          rate(number(per, "replies_5xx")), rate(number(per, "replies_4xx")),
                          rate(number(per, "quarantined")), rate(number(per, "tls_handshakes")),
                          rate(number(per, "tls_failures"))));
}

void shards(Screen& screen, const Json& live) {
  screen.line(fmt::format("{:<12}{:>10}{:>14}{:>13}{:>10}{:>8}", "shard", "messages/s",
                          "received/s", "connections", "turns/s", "cpu"));
  for (const Json& shard : member(live, "shards")) {
    screen.line(fmt::format("{:<12}{:>10}{:>14}{:>13.0f}{:>10}{:>7.0f}%", text(shard, "shard"),
                            rate(number(shard, "messages")), size(number(shard, "bytes")),
                            number(shard, "connections"), rate(number(shard, "turns")),
                            100 * number(shard, "cpu")));
  }
}

void activities(Screen& screen, const Json& live) {
  std::vector<std::string> words{fmt::format("{:.0f} of {:.0f}", number(live, "connections"),
                                             number(live, "connections_max"))};
  for (const auto& [name, count] : member(live, "activities").items()) {
    words.push_back(fmt::format("{} {:.0f}", base::escaped(name), count.get<double>()));
  }
  wrapped(screen, "clients", words);
  words = {fmt::format("{:.2f} cores", number(member(live, "cpu"), "process"))};
  const Json& stages = member(member(live, "cpu"), "stages");
  double all = 0;
  for (const auto& [name, share] : stages.items()) all += share.get<double>();
  for (const auto& [name, share] : stages.items()) {
    const double part = all > 0 ? 100 * share.get<double>() / all : 0;
    words.push_back(fmt::format("{} {:.0f}%", base::escaped(name), part));
  }
  wrapped(screen, "cpu", words);
}

// Two histograms side by side, buckets that somebody is in.
void histograms(Screen& screen, const Json& live) {
  const Json& latency = member(live, "latency");
  const Json& sync = member(live, "sync");
  const auto summary = [](const Json& of) {
    return fmt::format("p50 {} p99 {}", duration(of, "p50"), duration(of, "p99"));
  };
  screen.line(fmt::format("{:<40}{}", "end of data to durable:", "sync of the log:"));
  screen.line(fmt::format("  {:<38}  {}", summary(latency), summary(sync)));
  const auto bars = [](const Json& of) {
    std::vector<std::string> lines;
    double most = 0;
    for (const Json& bucket : member(of, "buckets")) most = std::max(most, number(bucket, "count"));
    for (const Json& bucket : member(of, "buckets")) {
      const double count = number(bucket, "count");
      if (count == 0) continue;
      const std::string name =
          bucket.value("le", Json()).is_null()
              ? "more"
              : base::format_duration(static_cast<std::int64_t>(number(bucket, "le") * 1e9));
      const auto columns = static_cast<std::size_t>(
          std::max(1.0, std::round(kBarColumns * count / std::max(most, 1.0))));
      lines.push_back(
          fmt::format("{:>10} {:<{}} {:.0f}", name, std::string(columns, '#'), kBarColumns, count));
    }
    return lines;
  };
  const auto left = bars(latency);
  const auto right = bars(sync);
  for (std::size_t i = 0; i < std::max(left.size(), right.size()); ++i) {
    screen.line(fmt::format("{:<40}{}", i < left.size() ? left[i] : std::string(),
                            i < right.size() ? right[i] : std::string()));
  }
}

void mail(Screen& screen, const Json& live) {
  const Json& dns = member(live, "dns");
  const double hits = number(dns, "cache_hits");
  const double looks = hits + number(dns, "cache_misses");
  wrapped(screen, "dns",
          {fmt::format("{}/s asked", rate(number(dns, "questions"))),
           fmt::format("{}/s timed out", rate(number(dns, "timeouts"))),
           fmt::format("{}/s failed", rate(number(dns, "failures"))),
           fmt::format("cache {:.0f}% hits, {}", looks > 0 ? 100 * hits / looks : 0,
                       size(number(dns, "cache_bytes")))});
  for (const auto& [method, results] : member(live, "verdicts").items()) {
    std::vector<std::string> words;
    for (const auto& [result, per] : results.items()) {
      if (per.get<double>() > 0) {
        words.push_back(fmt::format("{} {}/s", base::escaped(result), rate(per.get<double>())));
      }
    }
    wrapped(screen, base::escaped(method), words);
  }
  std::vector<Json> refusals;
  for (const Json& one : member(live, "refusals")) refusals.push_back(one);
  std::ranges::stable_sort(refusals, [](const Json& a, const Json& b) {
    return number(a, "per_second") > number(b, "per_second");
  });
  std::vector<std::string> words;
  for (const Json& one : refusals) {
    words.push_back(fmt::format("{}: {}/s ({:.0f})", text(one, "reply"),
                                rate(number(one, "per_second")), number(one, "total")));
  }
  wrapped(screen, "refusals", words);
}

void log_and_groups(Screen& screen, const Json& live) {
  const Json& log = member(live, "log");
  const Json& disk = member(live, "disk");
  std::vector<std::string> words{
      fmt::format("next {:.0f}", number(log, "next")),
      fmt::format("{} in {:.0f} segments", size(number(log, "bytes")), number(log, "segments")),
      fmt::format("{} free, reserve {}", size(number(disk, "free_bytes")),
                  size(number(disk, "reserve_bytes")))};
  words.push_back(number(log, "damaged_places") > 0
                      ? fmt::format("DAMAGED in {:.0f} places", number(log, "damaged_places"))
                      : fmt::format("checked before {}", duration(log, "verified_seconds")));
  wrapped(screen, "log", words);
  std::vector<Json> groups;
  for (const Json& one : member(live, "groups")) groups.push_back(one);
  std::ranges::stable_sort(
      groups, [](const Json& a, const Json& b) { return number(a, "lag") > number(b, "lag"); });
  if (groups.empty()) return screen.line("groups   none");
  screen.line(fmt::format("{:<26}{:<13}{:>12}{:>14}{:>9}", fmt::format("groups: {}", groups.size()),
                          "state", "lag", "seconds", "dead"));
  for (std::size_t i = 0; i < std::min(groups.size(), kGroupsShown); ++i) {
    screen.line(fmt::format("{:<26}{:<13}{:>12.0f}{:>14.1f}{:>9.0f}",
                            text(groups[i], "group").substr(0, 25), text(groups[i], "state"),
                            number(groups[i], "lag"), number(groups[i], "lag_seconds"),
                            number(groups[i], "dead")));
  }
  if (groups.size() > kGroupsShown) {
    screen.line(fmt::format("  and {} more, with less lag", groups.size() - kGroupsShown));
  }
}

}  // namespace

std::string top_screen(std::string_view document, std::size_t rows) {
  const Json live = Json::parse(document, nullptr, false);
  if (!live.is_object() || !live.contains("per_second")) {
    return "what answers there is no receiver of this version\n";
  }
  Screen screen(rows);
  head(screen, live);
  shards(screen, live);
  activities(screen, live);
  histograms(screen, live);
  mail(screen, live);
  log_and_groups(screen, live);
  return screen.take();
}

}  // namespace mxring::cli
