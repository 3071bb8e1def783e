// What the writer does with a log before it appends: finds where it ends, and makes that end final
// and durable (FORMAT.md, "Recovery"). Changes nothing when it cannot go on without losing durable
// records.
#pragma once

#include <cstdint>
#include <deque>
#include <expected>
#include <functional>
#include <optional>
#include <string>

#include "seglog/format.h"
#include "seglog/kept_segments.h"
#include "seglog/writer.h"
#include "uring/file.h"

namespace mxring::seglog {

struct Recovered {
  std::uint64_t next_offset = 0;
  std::uint64_t newest_epoch = 0;      // of all segments seen
  std::deque<SealedSegment> segments;  // ascending; without one that is about to be replaced
  RecoveryReport report;
};

std::expected<Recovered, OpenError> recover(const WriterOptions& options, uring::File& directory,
                                            const std::optional<StateFields>& state,
                                            const std::function<void(double)>& progress);

}  // namespace mxring::seglog
