// The segment that is being written: header, batches of records, seal. Writes and syncs go through
// uring::File, where tests make them fail. Any failure is final for the segment; the caller stops
// using it.
//
// Thread: the writer's.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <vector>

#include "seglog/index_file.h"
#include "seglog/spare_pool.h"
#include "seglog/tail.h"
#include "seglog/writer.h"

namespace mxring::seglog {

// What a record takes up in a segment, padding after a batch's last one not counted.
constexpr std::uint64_t record_span(const Append& record) {
  return align_up(kRecordHeaderBytes + record.message_bytes + record.metadata.size(), kRecordAlign);
}

// Room kept for the seal at the end of every segment.
constexpr std::uint64_t kSealRoomBytes = kBatchAlign;

class SegmentWriter {
 public:
  struct Place {
    std::string directory;
    uring::File* directory_file = nullptr;  // outlives the segment
    Sync sync = Sync::kCommit;
    Writer::Totals* totals = nullptr;
  };
  // One line for Writer::failure(): what was done to which file, and the errno's text.
  using Failure = std::string;

  // Makes `spare` the segment that begins at header.base_offset; an empty segment of that name is
  // replaced. Durable when it returns.
  static std::expected<SegmentWriter, Failure> create(const Place& place, Spare spare,
                                                      const SegmentHeader& header);

  // Bytes a batch may still take, its padding included.
  std::uint64_t room() const;
  // Writes the records from here on and makes them durable. They fit: the caller has asked room().
  std::expected<void, Failure> append(std::span<const Append> records, std::uint64_t first_offset,
                                      std::uint64_t durable_before);
  // Ends the segment: everything in it is durable and next_offset goes elsewhere. Cuts the file.
  std::expected<void, Failure> seal(std::uint64_t next_offset);

  // After the records were published: index entries, and pages readers will hardly want again.
  void tidy();

  const SegmentHeader& header() const { return header_; }
  std::uint64_t position() const { return position_; }
  std::int64_t newest_us() const { return newest_us_; }

 private:
  SegmentWriter() = default;
  std::expected<void, Failure> write_all(std::span<iovec> slices);
  std::expected<void, Failure> sync(const char* what);
  std::uint64_t lay_out(std::span<const Append> records, std::uint64_t first_offset,
                        std::uint64_t durable_before);
  void invariants() const;
  Failure failed(const char* what, int error) const;
  SegmentKey key() const { return {header_.epoch, header_.salt}; }

  Place place_;
  uring::File file_;
  SegmentHeader header_;
  std::uint64_t file_bytes_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t dropped_to_ = 0;
  std::int64_t newest_us_ = 0;
  IndexFile index_;
  IndexPace pace_;
  // Of the batch in work; their memory is kept from one to the next.
  std::vector<RecordHeader> headers_;
  std::vector<iovec> slices_;
  std::vector<IndexEntry> new_entries_;
};

}  // namespace mxring::seglog
