#include "seglog/tail.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "base/probe.h"
#include "seglog/log_directory.h"
#include "seglog/segment_cursor.h"

namespace mxring::seglog {

namespace {

using Kind = SegmentCursor::Kind;

// What the walk keeps of a stretch that is not a good record, and of the state just before it.
struct Fault {
  std::uint64_t position = 0;
  std::uint64_t end = 0;
  std::uint64_t first_offset = 0;
  std::uint64_t next_offset = 0;
  std::uint64_t records_before = 0;
  std::int64_t newest_before_us = 0;
  std::size_t index_before = 0;
};

struct Walk {
  std::vector<Fault> faults;
  std::uint64_t durable = 0;                    // the D of FORMAT.md
  std::uint64_t last_byte = kHeaderBlockBytes;  // end of the last good header's span
};

// Bytes of a record that was being written when everything stopped: its header may be torn too.
std::uint64_t torn_at(const TailQuestion& question, std::uint64_t position) {
  char slot[kRecordHeaderBytes] = {};
  if (position >= question.file_bytes) return 0;
  const std::uint64_t left = question.file_bytes - position;
  const std::int64_t got =
      read_fully(question.fd, slot, std::min<std::uint64_t>(left, sizeof slot), position);
  if (got <= 0) return 0;
  const SegmentKey key{question.header.epoch, question.header.salt};
  if (const auto header = decode_record_header(slot, key)) {
    return header->is_seal() ? 0 : std::min<std::uint64_t>(left, header->span_bytes);
  }
  RecordHeader raw;
  std::memcpy(&raw, slot, sizeof raw);
  const bool begun = raw.epoch == key.epoch || (left < sizeof slot && raw.magic != 0);
  return begun ? static_cast<std::uint64_t>(got) : 0;
}

// The first pass: every header counts for D, also those after the damage it is to judge.
Walk walk(const TailQuestion& question, Tail& tail, const std::function<void(double)>& progress) {
  Walk result;
  result.durable = std::max(question.header.base_offset, question.durable);
  SegmentCursor cursor(SegmentCursor::kScanAhead);
  const SegmentKey key{question.header.epoch, question.header.salt};
  cursor.start(question.fd, key, kHeaderBlockBytes, question.header.base_offset);
  IndexPace pace;
  pace.start(question.header.base_offset, kHeaderBlockBytes);
  std::uint64_t told = 0;
  while (true) {
    const SegmentCursor::Event event = cursor.read(question.file_bytes);
    if (event.kind == Kind::kEnd) break;
    result.durable = std::max(result.durable, event.header.durable_before);
    if (event.kind == Kind::kSeal && event.next_offset == event.first_offset) {
      tail.sealed = true;
      break;
    }
    result.last_byte = std::max(result.last_byte, event.end);
    const bool unwanted = question.poisoned && event.first_offset >= question.durable;
    if (event.kind == Kind::kRecord && !unwanted) {
      if (question.want_index && pace.due(event.header.offset, event.position)) {
        tail.index.push_back({event.header.offset, event.position, tail.newest_us, 0, 0});
      }
      ++tail.records;
      tail.newest_us = std::max(tail.newest_us, event.header.received_at_us);
    } else {
      result.faults.push_back({event.position, event.end, event.first_offset, event.next_offset,
                               tail.records, tail.newest_us, tail.index.size()});
    }
    if (event.kind == Kind::kSeal) {
      MXRING_PROBE("tail: a seal with offsets that are not here");
      // it says more offsets than are here
      tail.sealed = true;
      tail.position = event.position;
      tail.next_offset = event.next_offset;
      return result;
    }
    cursor.advance(event);
    if (progress && event.end - told >= (8U << 20)) {
      told = event.end;
      progress(static_cast<double>(event.end) / static_cast<double>(question.file_bytes));
    }
  }
  tail.position = cursor.position();
  tail.next_offset = cursor.offset();
  MXRING_ASSERT(tail.next_offset >= question.header.base_offset &&
                tail.position >= kHeaderBlockBytes);
  return result;
}

void cut_at(Tail& tail, const Fault& fault, std::uint64_t position, std::uint64_t next_offset) {
  tail.position = position;
  tail.next_offset = next_offset;
  tail.sealed = false;
  tail.records = fault.records_before;
  tail.newest_us = fault.newest_before_us;
  tail.index.resize(fault.index_before);
}

}  // namespace

Tail find_tail(const TailQuestion& question, const std::function<void(double)>& progress) {
  Tail tail;
  const Walk found = walk(question, tail, progress);
  const std::uint64_t durable = question.poisoned ? question.durable : found.durable;
  for (const Fault& fault : found.faults) {
    if (fault.first_offset >= durable) {  // torn: nobody was told of anything from here on
      MXRING_PROBE("tail: torn");
      cut_at(tail, fault, fault.position, fault.first_offset);
      break;
    }
    tail.damaged_records += std::min(fault.next_offset, durable) - fault.first_offset;
    if (fault.next_offset > durable) {  // real damage that runs into a torn end
      MXRING_PROBE("tail: damage runs into a torn end");
      cut_at(tail, fault, fault.end, durable);
      break;
    }
  }
  if (tail.next_offset < durable) {
    MXRING_PROBE("tail: acknowledged records are missing at the end");
    tail.damaged_records += durable - tail.next_offset;
    tail.next_offset = durable;
  }
  if (!tail.sealed) {
    tail.torn_bytes = torn_at(question, tail.position);
    if (found.last_byte > tail.position) {
      tail.torn_bytes = std::max(tail.torn_bytes, found.last_byte - tail.position);
    }
  }
  return tail;
}

}  // namespace mxring::seglog
