#include "seglog/segment_seek.h"

#include <algorithm>

#include "seglog/index_file.h"

namespace mxring::seglog {

using Kind = SegmentCursor::Kind;

void seek_in_segment(int directory_fd, const OpenSegment& segment, std::uint64_t limit,
                     Offset offset, SegmentCursor& cursor) {
  const Offset base = segment.header.base_offset;
  cursor.start(segment.file.fd(), segment.key(), kHeaderBlockBytes, base);
  if (offset == base) return;
  const auto entries = read_index(directory_fd, segment.header);
  const auto after = std::upper_bound(
      entries.begin(), entries.end(), offset,
      [](Offset wanted, const IndexEntry& entry) { return wanted < entry.offset; });
  if (after != entries.begin()) {
    const IndexEntry& entry = *(after - 1);
    cursor.start(segment.file.fd(), segment.key(), entry.position, entry.offset);
    const auto event = cursor.read(limit, false);
    if (event.kind != Kind::kRecord) {
      cursor.start(segment.file.fd(), segment.key(), kHeaderBlockBytes, base);
    }
  }
  while (cursor.offset() < offset) {
    const auto event = cursor.read(limit, false);
    if (event.kind == Kind::kSeal || event.kind == Kind::kEnd) return;
    if (event.next_offset > offset) return;
    cursor.advance(event);
  }
}

}  // namespace mxring::seglog
