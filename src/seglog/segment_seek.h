// Moving to a record inside a segment: by its index as far as that goes, then header by header.
#pragma once

#include "seglog/log_directory.h"
#include "seglog/segment_cursor.h"

namespace mxring::seglog {

// Moves `cursor` to the record `offset` of the segment, or as near before it as damage allows.
// Nothing at or after `limit` is looked at.
void seek_in_segment(int directory_fd, const OpenSegment& segment, std::uint64_t limit,
                     Offset offset, SegmentCursor& cursor);

}  // namespace mxring::seglog
