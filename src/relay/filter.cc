#include "relay/filter.h"

#include <algorithm>

#include "base/text.h"

namespace mxring::relay {

bool like(std::string_view pattern, std::string_view text) {
  // Greedy, going back to the latest star only: at most pattern x text steps.
  std::size_t p = 0, t = 0, star = std::string_view::npos, mark = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern.size() && base::ascii_lower(pattern[p]) == base::ascii_lower(text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool Filter::takes_type(decode::Kind kind) const {
  return !by_type() ||
         std::ranges::find(config_.filter_types, decode::word(kind)) != config_.filter_types.end();
}

bool Filter::takes(const Record& record, std::vector<std::uint32_t>& recipients) const {
  recipients.clear();
  const auto& wanted = config_.filter_dispositions;
  if (!wanted.empty() && std::ranges::find(wanted, record.disposition) == wanted.end()) {
    return false;
  }
  const auto& patterns = config_.filter_recipients;
  for (std::uint32_t i = 0; i < record.rcpt_to.size(); ++i) {
    const auto matches = [&](const std::string& pattern) {
      return like(pattern, record.rcpt_to[i].address);
    };
    if (patterns.empty() || std::ranges::any_of(patterns, matches)) recipients.push_back(i);
  }
  return patterns.empty() || !recipients.empty();
}

}  // namespace mxring::relay
