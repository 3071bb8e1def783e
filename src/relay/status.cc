#include "relay/status.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/json.h"
#include "base/units.h"
#include "obs/exposition.h"

namespace mxring::relay {

void Status::delivered(std::uint64_t bytes, std::int64_t took_ns, base::Now) {
  ++delivered_;
  delivered_bytes_ += bytes;
  delivery_ns_.record(static_cast<std::uint64_t>(std::max<std::int64_t>(took_ns, 0)));
  error_.clear();
  said_.clear();
}

// "250 2.0.0 Saved" counts under 250; words without a code under "none".
void Status::count_reply(const std::string& reply) {
  std::string code = reply.substr(0, 3);
  const bool digits =
      code.size() == 3 && std::ranges::all_of(code, [](char c) { return c >= '0' && c <= '9'; });
  if (!digits) code = "none";
  constexpr std::size_t kCodesMax = 100;
  if (replies_.size() < kCodesMax || replies_.contains(code)) ++replies_[code];
}

bool Status::failed(const std::string& reply, bool for_good, base::Now now) {
  ++(for_good ? for_good_ : later_);
  if (error_.empty()) error_since_ = now.wall;
  if (!for_good) error_ = reply.empty() ? "no reason given" : reply;
  constexpr std::int64_t kSayAgainNs = 60 * base::kNsPerSecond;
  if (reply == said_ && now.mono - said_at_ < kSayAgainNs) {
    ++unsaid_;
    return false;
  }
  said_ = reply;
  said_at_ = now.mono;
  unsaid_ = 0;
  return true;
}

void Status::look(const Standing& standing, base::Now now) {
  if (!looked_ || standing.current < looked_current_) {
    looked_ = true;
    looked_at_ = now.mono;
    looked_current_ = standing.current;
    return;
  }
  const double seconds = static_cast<double>(now.mono - looked_at_) / 1e9;
  if (seconds < 1) return;
  const double rate = static_cast<double>(standing.current - looked_current_) / seconds;
  rate_ = rate_ == 0 ? rate : rate_ * 0.7 + rate * 0.3;
  looked_at_ = now.mono;
  looked_current_ = standing.current;
}

std::optional<std::string> Status::progress(const Standing& standing, base::Now now) {
  constexpr std::uint64_t kBehind = 1000;
  constexpr std::int64_t kEveryNs = 10 * base::kNsPerSecond;
  const std::uint64_t lag = standing.end > standing.current ? standing.end - standing.current : 0;
  if (lag < kBehind) {
    if (!behind_) return std::nullopt;
    behind_ = false;
    return "caught up with the log";
  }
  if (!behind_) {
    behind_ = true;
    progress_at_ = now.mono;
    return fmt::format("{} behind the end of the log", base::counted(lag, "record"));
  }
  if (now.mono - progress_at_ < kEveryNs) return std::nullopt;
  progress_at_ = now.mono;
  if (rate_ < 0.1) {
    return fmt::format("{} behind the end of the log, none delivered lately",
                       base::counted(lag, "record"));
  }
  return fmt::format(
      "{} behind the end of the log, {:.0f} a second, {} left", base::counted(lag, "record"), rate_,
      base::format_duration(static_cast<std::int64_t>(static_cast<double>(lag) / rate_ * 1e9)));
}

std::string Status::state_json(const Standing& standing) const {
  const std::uint64_t lag = standing.end > standing.current ? standing.end - standing.current : 0;
  base::JsonWriter json;
  json.begin_object();
  json.key("state").value(retrying() ? "retrying" : "running");
  json.key("error");
  error_.empty() ? json.null() : json.value(error_);
  json.key("since");
  error_.empty() ? json.null() : json.value(base::format_wall_time(error_since_.us));
  json.key("window_records").value(standing.window_records);
  json.key("window_bytes").value(standing.window_bytes);
  json.key("rate").value(rate_);
  json.key("seconds_left");
  if (lag > 0 && rate_ > 0.1) {
    json.value(static_cast<double>(lag) / rate_);
  } else {
    json.null();
  }
  json.end_object();
  return std::move(json).text() + '\n';
}

std::string Status::metrics(const std::string& group, const Standing& standing) const {
  std::string out;
  // A group's name needs no escapes.
  const auto metric = [&](const char* type, std::string_view name, std::string_view help,
                          std::uint64_t value) {
    out += fmt::format(
        "# HELP mxring_relay_{0} {1}\n# TYPE mxring_relay_{0} {2}\n"
        "mxring_relay_{0}{{group=\"{3}\"}} {4}\n",
        name, help, type, group, value);
  };
  const std::uint64_t lag = standing.end > standing.current ? standing.end - standing.current : 0;
  metric("gauge", "lag_records", "Records between the committed place and the log's end.", lag);
  metric("gauge", "window_records", "Records read and not dealt with.", standing.window_records);
  metric("gauge", "window_bytes", "Bytes of them.", standing.window_bytes);
  metric("gauge", "under_way", "Attempts that are under way.", standing.under_way);
  metric("gauge", "waiting", "Records that wait for their next attempt.", standing.waiting);
  metric("gauge", "retrying", "1 while the latest attempt has failed.", retrying() ? 1 : 0);
  metric("gauge", "dead_letters", "Dead letters on disk.", standing.dead);
  metric("gauge", "dead_letters_bytes", "Bytes of them.", standing.dead_bytes);
  metric("counter", "attempts_total", "Attempts begun.", attempts_);
  metric("counter", "delivered_total", "Records delivered.", delivered_);
  metric("counter", "delivered_bytes_total", "Bytes of them as received.", delivered_bytes_);
  metric("counter", "retries_total", "Attempts that failed for the time being.", later_);
  metric("counter", "dead_total", "Records put aside as dead letters.", for_good_);
  metric("counter", "filtered_total", "Records that the filter left out.", filtered_);
  metric("counter", "gap_records_total", "Records that were removed or damaged.", gap_records_);
  metric("counter", "rewinds_total", "Times that reading went on where the sink stands.", rewinds_);
  metric("counter", "commits_total", "Times that the place was written.", commits_);
  out +=
      "# HELP mxring_relay_replies_total Answers of the sink, by code.\n"
      "# TYPE mxring_relay_replies_total counter\n";
  for (const auto& [code, count] : replies_) {
    out += fmt::format("mxring_relay_replies_total{{group=\"{}\",code=\"{}\"}} {}\n", group, code,
                       count);
  }
  obs::append_prometheus_histogram(out, "relay_delivery_seconds",
                                   "From the start of an attempt to its success.", delivery_ns_);
  return out;
}

}  // namespace mxring::relay
