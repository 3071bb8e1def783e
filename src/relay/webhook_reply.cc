#include "relay/webhook_reply.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

namespace mxring::relay {

namespace {

// A server cannot stop a relay for longer than this.
constexpr std::int64_t kRetryAfterMaxS = 24 * 3600;

std::string one_line(std::string_view body) {
  constexpr std::size_t kShown = 200;
  std::string line = base::escaped(body.substr(0, body.find_first_of("\r\n")));
  return line.substr(0, kShown);
}

}  // namespace

Outcome judge(const HttpAnswer& answer) {
  Outcome outcome;
  if (answer.code == 0) {
    outcome.kind = Outcome::Kind::kLater;
    outcome.reply = answer.error;
    return outcome;
  }
  outcome.reply = fmt::format("{} {}", answer.code, one_line(answer.body));
  while (outcome.reply.ends_with(' ')) outcome.reply.pop_back();
  if (answer.code >= 200 && answer.code < 300) return outcome;
  if (answer.code == 410) {
    outcome.kind = Outcome::Kind::kPause;
    outcome.reply += ": the endpoint is gone";
    return outcome;
  }
  const bool slow_down = answer.code == 408 || answer.code == 425 || answer.code == 429;
  if (answer.code >= 400 && answer.code < 500 && !slow_down) {
    outcome.kind = Outcome::Kind::kForGood;
    return outcome;
  }
  outcome.kind = Outcome::Kind::kLater;
  if (answer.code >= 300 && answer.code < 400) {
    outcome.reply = fmt::format(
        "{} a redirect{}, which is not followed: write where it leads as url", answer.code,
        answer.location.empty() ? std::string()
                                : fmt::format(" to {}", base::escaped(answer.location)));
  }
  if (answer.retry_after_s > 0) {
    outcome.wait_ns = std::min(answer.retry_after_s, kRetryAfterMaxS) * base::kNsPerSecond;
    outcome.everybody = true;
  }
  return outcome;
}

}  // namespace mxring::relay
