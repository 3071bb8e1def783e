#include "seglog/segment_cursor.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "seglog/log_directory.h"

namespace mxring::seglog {

namespace {

constexpr std::uint64_t kPageBytes = 4096;

// Of a file that was cut, the last record is still whole when only zeros after it are missing.
bool fits_below(const RecordHeader& header, std::uint64_t position, std::uint64_t limit) {
  return kRecordHeaderBytes + header.payload_bytes() <= limit - position;
}

bool all_zero(const char* bytes, std::uint64_t size) {
  return size == 0 || (bytes[0] == 0 && std::memcmp(bytes, bytes + 1, size - 1) == 0);
}

}  // namespace

const char* FileWindow::at(std::uint64_t position, std::uint64_t size, std::uint64_t limit) {
  error_ = 0;
  if (size > limit || position > limit - size) return nullptr;
  if (position >= start_ && position + size <= start_ + bytes_) {
    return buffer_.get() + (position - start_);
  }
  const std::uint64_t wanted = std::min(std::max(size, ahead_), limit - position);
  if (wanted > capacity_) {
    buffer_.reset(new char[wanted]);  // not zeroed: it is about to be filled
    capacity_ = wanted;
  }
  start_ = position;
  bytes_ = 0;
  const std::int64_t got = read_fully(fd_, buffer_.get(), wanted, position);
  if (got < 0) {
    error_ = static_cast<int>(-got);
    return nullptr;
  }
  bytes_ = static_cast<std::uint64_t>(got);
  MXRING_ASSERT(bytes_ <= wanted && wanted <= capacity_);
  if (bytes_ >= size) return buffer_.get();
  // Short: the end of the file, or a bad place after some good bytes.
  char probe = 0;
  const std::int64_t more = read_fully(fd_, &probe, 1, position + bytes_);
  if (more < 0) error_ = static_cast<int>(-more);
  return nullptr;
}

void SegmentCursor::start(int fd, SegmentKey key, std::uint64_t position, std::uint64_t offset) {
  MXRING_ASSERT(position >= kHeaderBlockBytes);
  window_.reset(fd);
  key_ = key;
  position_ = position;
  offset_ = offset;
}

SegmentCursor::Event SegmentCursor::read(std::uint64_t limit, bool check_payload) {
  const char* bytes = window_.at(position_, kRecordHeaderBytes, limit);
  if (bytes == nullptr) return resync(limit);
  const auto header = decode_record_header(bytes, key_);
  const bool fits = header && fits_below(*header, position_, limit);
  const bool expected =
      header && (header->is_seal() ? header->offset >= offset_ : header->offset == offset_);
  if (!fits || !expected) return resync(limit);

  Event event;
  event.header = *header;
  event.position = position_;
  event.end = position_ + header->span_bytes;
  MXRING_ASSERT(event.end > position_);
  event.first_offset = offset_;
  event.next_offset = header->is_seal() ? header->offset : offset_ + 1;
  if (header->is_seal()) {
    event.kind = Kind::kSeal;
    return event;
  }
  event.kind = Kind::kRecord;
  if (!check_payload) return event;

  const std::uint64_t there = std::min<std::uint64_t>(header->span_bytes, limit - position_);
  const char* whole = window_.at(position_, there, limit);
  if (whole == nullptr) {
    event.kind = Kind::kBadPayload;
    event.io_error = window_.error();
    return event;
  }
  event.payload = whole + kRecordHeaderBytes;
  MXRING_ASSERT(kRecordHeaderBytes + header->payload_bytes() <= there);
  const char* metadata = event.payload + header->message_bytes;
  const std::uint64_t used = kRecordHeaderBytes + header->payload_bytes();
  if (payload_crc(event.payload, header->message_bytes, metadata, header->metadata_bytes) !=
      header->payload_crc) {
    event.kind = Kind::kBadPayload;
    event.payload = nullptr;
  } else {
    event.padding_damaged = !all_zero(whole + used, there - used);
  }
  return event;
}

SegmentCursor::Event SegmentCursor::resync(std::uint64_t limit) {
  Event event;
  event.position = position_;
  event.first_offset = offset_;
  event.end = position_;
  event.next_offset = offset_;
  // Any good header will do that does not go back: the record at `position_` itself too, when its
  // offset is higher than expected.
  for (std::uint64_t at = position_; at + kRecordHeaderBytes <= limit;) {
    const char* bytes = window_.at(at, kRecordHeaderBytes, limit);
    if (bytes == nullptr) {
      if (window_.error() == 0) break;  // the file ends here
      event.io_error = window_.error();
      at = align_up(at + 1, kPageBytes);
      continue;
    }
    const auto header = decode_record_header(bytes, key_);
    if (header && header->offset >= offset_ && fits_below(*header, at, limit)) {
      event.kind = Kind::kBadRegion;
      event.header = *header;
      event.end = at;
      event.next_offset = header->offset;
      return event;
    }
    at += kRecordAlign;
  }
  event.kind = Kind::kEnd;
  return event;
}

}  // namespace mxring::seglog
