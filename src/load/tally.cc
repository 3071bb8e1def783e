#include "load/tally.h"

#include <algorithm>

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

void Tally::accept(std::int64_t latency, std::uint64_t bytes) {
  bump(sent);
  bump(accepted);
  bump(content_bytes, bytes);
  latency_ns.record(static_cast<std::uint64_t>(std::max<std::int64_t>(latency, 0)));
}

void Tally::reject(int code, std::string_view text) {
  bump(sent);
  bump(rejected);
  CodeCount& entry = codes[code];
  if (entry.count++ == 0) entry.example = text;
}

void Tally::lose(Loss loss, std::uint64_t messages) {
  bump(sent, messages);
  bump(errors, messages);
  losses[static_cast<std::size_t>(loss)] += messages;
}

}  // namespace mxring::load
