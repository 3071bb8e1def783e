#include "uring/fault.h"

#include <utility>

namespace mxring::uring {

std::optional<FaultRule> FaultPlan::next(FaultPoint point) {
  // Relaxed: the number only has to be handed out once; nothing else is ordered by it.
  const std::uint64_t n =
      counts_[static_cast<std::size_t>(point)].fetch_add(1, std::memory_order_relaxed);
  for (const FaultRule& rule : rules_) {
    if (rule.point != point) continue;
    if (n == rule.nth || (rule.every_from_nth && n > rule.nth)) return rule;
  }
  return std::nullopt;
}

std::uint64_t FaultPlan::count(FaultPoint point) const {
  return counts_[static_cast<std::size_t>(point)].load(std::memory_order_relaxed);
}

void FaultPlan::record(std::string line) {
  const std::lock_guard lock(trace_mutex_);
  trace_.push_back(std::move(line));
}

std::vector<std::string> FaultPlan::trace() const {
  const std::lock_guard lock(trace_mutex_);
  return trace_;
}

std::string_view name(FaultPoint point) {
  switch (point) {
    case FaultPoint::kAccept:
      return "accept";
    case FaultPoint::kReceive:
      return "receive";
    case FaultPoint::kSend:
      return "send";
    case FaultPoint::kConnect:
      return "connect";
    case FaultPoint::kRead:
      return "read";
    case FaultPoint::kWrite:
      return "write";
    case FaultPoint::kPoll:
      return "poll";
    case FaultPoint::kClose:
      return "close";
    case FaultPoint::kCancel:
      return "cancel";
    case FaultPoint::kFileWrite:
      return "file_write";
    case FaultPoint::kFileSync:
      return "file_sync";
    case FaultPoint::kFileAllocate:
      return "file_allocate";
    case FaultPoint::kFileOpen:
      return "file_open";
    case FaultPoint::kCount:
      break;
  }
  return "unknown";
}

}  // namespace mxring::uring
