#include "load/tally.h"

#include <algorithm>

#include "base/assert.h"

namespace mxring::load {

std::string_view describe(Loss loss) {
  switch (loss) {
    case Loss::kRefused:
      return "connection refused";
    case Loss::kNoRoute:
      return "cannot connect";
    case Loss::kReset:
      return "connection reset";
    case Loss::kClosed:
      return "closed by the server";
    case Loss::kTimeout:
      return "timed out";
    case Loss::kNonsense:
      return "not an SMTP reply";
    case Loss::kTls:
      return "TLS failed";
    case Loss::kLocal:
      return "this host is out of ports, descriptors or memory";
    case Loss::kUnfinished:
      return "cut off at the end";
    case Loss::kUnsent:
      return "planned but never sent";
    case Loss::kCount:
      break;
  }
  return "";
}

void count_refusal(CodeCounts& counts, int code, std::string_view text) {
  CodeCount& entry = counts[code];
  if (entry.count++ == 0) entry.example = text;
}

std::uint64_t sum_of(const CodeCounts& counts) {
  std::uint64_t sum = 0;
  for (const auto& [code, entry] : counts) sum += entry.count;
  return sum;
}

void Tally::accept(std::int64_t latency, std::uint64_t bytes) {
  bump(sent);
  bump(accepted);
  bump(content_bytes, bytes);
  latency_ns.record(static_cast<std::uint64_t>(std::max<std::int64_t>(latency, 0)));
}

void Tally::reject(int code, std::string_view text) {
  bump(sent);
  bump(rejected);
  count_refusal(codes, code, text);
}

void Tally::lose(Loss loss, std::uint64_t messages) {
  bump(sent, messages);
  MXRING_ASSERT(messages > 0);
  bump(lost, messages);
  MXRING_ASSERT(loss < Loss::kCount);
  losses[static_cast<std::size_t>(loss)] += messages;
}

}  // namespace mxring::load
