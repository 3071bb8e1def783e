#include "seglog/segment_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <system_error>

#include "base/assert.h"
#include "base/crc32c.h"

namespace mxring::seglog {

namespace {

// Pages after the write position are dropped from the page cache in steps of kDropStep, keeping
// the newest kDropLag for readers that follow the tail. Dropping as we go is cheaper than leaving
// it to memory reclaim, and the mail does not push other things out of the cache.
constexpr std::uint64_t kDropLag = 4 << 20;
constexpr std::uint64_t kDropStep = 512 << 10;
// A large folio that is only partly inside the dropped range stays: each step begins this much
// before the last one's end, the size of the largest folio, so that it goes with the next.
constexpr std::uint64_t kDropOverlap = 2 << 20;
static_assert(kDropOverlap < kDropLag && kDropStep % kBatchAlign == 0 &&
              kDropLag % kBatchAlign == 0);

alignas(64) constexpr char kZeros[kBatchAlign + kRecordAlign] = {};

iovec slice_of(const void* bytes, std::size_t size) {
  return {const_cast<void*>(bytes), size};  // pwritev does not write to it
}

}  // namespace

std::expected<SegmentWriter, SegmentWriter::Failure> SegmentWriter::create(
    const Place& place, Spare spare, const SegmentHeader& header) {
  SegmentWriter segment;
  segment.place_ = place;
  segment.file_ = std::move(spare.file);
  segment.header_ = header;
  segment.file_bytes_ = spare.bytes;
  MXRING_ASSERT(spare.bytes >= kHeaderBlockBytes + kSealRoomBytes);

  alignas(64) char block[kHeaderBlockBytes];
  encode_segment_header(header, block);
  iovec slice = slice_of(block, sizeof block);
  if (auto written = segment.write_all({&slice, 1}); !written) {
    return std::unexpected(written.error());
  }
  if (auto synced = segment.sync("sync"); !synced) return std::unexpected(synced.error());
  // Only now may the name appear: a segment without a good header never exists.
  const std::string name = segment_name(header.base_offset);
  const int directory_fd = place.directory_file->fd();
  if (::renameat(directory_fd, spare.name.c_str(), directory_fd, name.c_str()) != 0) {
    return std::unexpected(segment.failed("rename", errno));
  }
  if (place.sync == Sync::kCommit) {
    ++place.totals->system_calls;
    if (auto synced = place.directory_file->sync_all(); !synced) {
      return std::unexpected(segment.failed("sync of the directory", synced.error()));
    }
  }
  segment.index_.create(directory_fd, header);
  segment.pace_.start(header.base_offset, segment.position_);
  return segment;
}

std::uint64_t SegmentWriter::room() const {
  const std::uint64_t used = align_up(position_, kBatchAlign) + kSealRoomBytes;
  return file_bytes_ > used ? (file_bytes_ - used) & ~(kBatchAlign - 1) : 0;
}

std::uint64_t SegmentWriter::lay_out(std::span<const Append> records, std::uint64_t first_offset,
                                     std::uint64_t durable_before) {
  headers_.clear();
  slices_.clear();
  headers_.reserve(records.size());  // slices point into it
  std::uint64_t at = position_;
  for (std::size_t i = 0; i < records.size(); ++i) {
    const Append& record = records[i];
    std::uint64_t span = record_span(record);
    if (i + 1 == records.size() && place_.sync == Sync::kCommit) {
      span = align_up(at + span, kBatchAlign) - at;
    }
    const std::uint64_t used = kRecordHeaderBytes + record.message_bytes + record.metadata.size();
    MXRING_ASSERT(span <= UINT32_MAX);  // the limits on messages and metadata are far below
    MXRING_ASSERT(used <= span && span % kRecordAlign == 0);
    RecordHeader& header = headers_.emplace_back();
    header.offset = first_offset + i;
    header.received_at_us = record.received_at_us;
    header.durable_before = durable_before;
    header.span_bytes = static_cast<std::uint32_t>(span);
    header.message_bytes = static_cast<std::uint32_t>(record.message_bytes);
    header.metadata_bytes = static_cast<std::uint32_t>(record.metadata.size());
    header.payload_crc =
        base::crc32c(record.message_crc32c, record.metadata.data(), record.metadata.size());
    finish_record_header(header, key());

    slices_.push_back(slice_of(&header, sizeof header));
    std::uint64_t message_bytes = 0;
    for (const iovec& slice : record.message) {
      if (slice.iov_len > 0) slices_.push_back(slice);
      message_bytes += slice.iov_len;
    }
    MXRING_ASSERT(message_bytes == record.message_bytes);
    if (!record.metadata.empty()) {
      slices_.push_back(slice_of(record.metadata.data(), record.metadata.size()));
    }
    if (span > used) slices_.push_back(slice_of(kZeros, span - used));
    if (pace_.due(header.offset, at)) new_entries_.push_back({header.offset, at, newest_us_, 0, 0});
    newest_us_ = std::max(newest_us_, record.received_at_us);
    at += span;
  }
  return at;
}

std::expected<void, SegmentWriter::Failure> SegmentWriter::append(std::span<const Append> records,
                                                                  std::uint64_t first_offset,
                                                                  std::uint64_t durable_before) {
  MXRING_ASSERT(!records.empty());
  MXRING_ASSERT(first_offset >= header_.base_offset && durable_before <= first_offset);
  const std::uint64_t end = lay_out(records, first_offset, durable_before);
  MXRING_ASSERT(end + kSealRoomBytes <= file_bytes_);
  if (auto written = write_all(slices_); !written) return written;
  MXRING_ASSERT(position_ == end);
  invariants();
  return sync("sync");
}

void SegmentWriter::invariants() const {
  MXRING_ASSERT(position_ >= kHeaderBlockBytes && position_ + kSealRoomBytes <= file_bytes_);
  MXRING_ASSERT(position_ % (place_.sync == Sync::kCommit ? kBatchAlign : kRecordAlign) == 0);
  MXRING_ASSERT(dropped_to_ <= position_);
}

std::expected<void, SegmentWriter::Failure> SegmentWriter::seal(std::uint64_t next_offset) {
  RecordHeader header;
  header.magic = kSealMagic;
  header.offset = next_offset;
  header.received_at_us = newest_us_;
  header.durable_before = next_offset;
  header.span_bytes = kRecordHeaderBytes;
  finish_record_header(header, key());
  MXRING_ASSERT(next_offset >= header_.base_offset);
  const std::uint64_t seal_at = position_;
  // Whole pages, so that the kernel need not read the old ones first.
  const std::uint64_t seal_end = seal_at + sizeof header;
  iovec slices[] = {slice_of(&header, sizeof header),
                    slice_of(kZeros, align_up(seal_end, kBatchAlign) - seal_end)};
  if (auto written = write_all(slices); !written) return written;
  if (auto synced = sync("sync"); !synced) return synced;
  ++place_.totals->system_calls;
  if (auto cut = file_.truncate(seal_at + kRecordHeaderBytes); !cut) {
    return std::unexpected(failed("cutting", cut.error()));
  }
  // Nobody looks at this end again: a power cut must not bring the rest of the file back.
  if (auto synced = sync("sync"); !synced) return synced;
  position_ = seal_at + kRecordHeaderBytes;
  index_.close();
  return {};
}

void SegmentWriter::tidy() {
  for (const IndexEntry& entry : new_entries_) {
    index_.append(entry);
    ++place_.totals->system_calls;
  }
  new_entries_.clear();
  if (place_.sync == Sync::kCommit && position_ >= dropped_to_ + kDropLag + kDropStep) {
    const std::uint64_t keep_from = (position_ - kDropLag) & ~(kBatchAlign - 1);
    const std::uint64_t from = dropped_to_ > kDropOverlap ? dropped_to_ - kDropOverlap : 0;
    ::posix_fadvise(file_.fd(), static_cast<off_t>(from), static_cast<off_t>(keep_from - from),
                    POSIX_FADV_DONTNEED);
    ++place_.totals->system_calls;
    MXRING_ASSERT(keep_from >= dropped_to_ && keep_from <= position_);
    dropped_to_ = keep_from;
  }
}

// Continues after short writes, which are no error; writing nothing is one.
std::expected<void, SegmentWriter::Failure> SegmentWriter::write_all(std::span<iovec> slices) {
  MXRING_ASSERT(place_.totals != nullptr && position_ % kRecordAlign == 0);
  while (!slices.empty()) {
    const auto some = slices.first(std::min<std::size_t>(slices.size(), IOV_MAX));
    ++place_.totals->system_calls;
    const auto written = file_.write_at(some, position_);
    if (!written) return std::unexpected(failed("write", written.error()));
    if (*written == 0) return std::unexpected(failed("write (nothing was written)", EIO));
    position_ += *written;
    place_.totals->bytes_written += *written;
    std::uint64_t left = *written;
    while (!slices.empty() && left >= slices.front().iov_len) {
      left -= slices.front().iov_len;
      slices = slices.subspan(1);
    }
    if (left > 0) {  // in the middle of a slice
      slices.front().iov_base = static_cast<char*>(slices.front().iov_base) + left;
      MXRING_ASSERT(!slices.empty() && left < slices.front().iov_len);
      slices.front().iov_len -= left;
    }
  }
  return {};
}

std::expected<void, SegmentWriter::Failure> SegmentWriter::sync(const char* what) {
  if (place_.sync == Sync::kNone) return {};
  ++place_.totals->system_calls;
  if (auto synced = file_.sync_data(); !synced) {
    return std::unexpected(failed(what, synced.error()));
  }
  return {};
}

SegmentWriter::Failure SegmentWriter::failed(const char* what, int error) const {
  return std::string(what) + " of " + place_.directory + "/" + segment_name(header_.base_offset) +
         " failed: " + std::system_category().message(error);
}

}  // namespace mxring::seglog
