// Walks the records of one segment file in order, checking each, and says what is wrong where. The
// one place that decides what is a record: reader, recovery and verification all walk with it.
//
// It never looks after `limit`: bytes there may still be changing. What it returns points into its
// own buffer and stays valid until the next call of read(). Whether the file is still the segment
// that was opened is for the caller to ask (still_same_segment) before believing in damage.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "seglog/format.h"

namespace mxring::seglog {

// A stretch of a file in memory.
class FileWindow {
 public:
  // `ahead`: how much is read at once.
  FileWindow(int fd, std::uint64_t ahead) : fd_(fd), ahead_(ahead) {}

  // The bytes [position, position + size), or nullptr when the file ends before or cannot be read
  // there (error() tells). The pointer is valid until the next call.
  const char* at(std::uint64_t position, std::uint64_t size, std::uint64_t limit);
  int error() const { return error_; }
  // For another file: forgets the bytes, keeps the memory.
  void reset(int fd) {
    fd_ = fd;
    bytes_ = 0;
  }

 private:
  int fd_;
  std::uint64_t ahead_;
  std::unique_ptr<char[]> buffer_;
  std::uint64_t capacity_ = 0;
  std::uint64_t start_ = 0;
  std::uint64_t bytes_ = 0;
  int error_ = 0;
};

class SegmentCursor {
 public:
  enum class Kind : std::uint8_t {
    kRecord,      // whole and checked
    kBadPayload,  // a good header; message or metadata fail their CRC
    kBadRegion,   // no good header here; `next_offset` and `end` are those of the next one
    kSeal,        // the end of a sealed segment
    kEnd,         // no good header from here to the limit
  };
  struct Event {
    Kind kind = Kind::kEnd;
    RecordHeader header;             // kRecord, kBadPayload, kSeal; kBadRegion: of the next one
    std::uint64_t position = 0;      // where it begins
    std::uint64_t end = 0;           // where the next one begins
    std::uint64_t first_offset = 0;  // the offset expected at `position`
    std::uint64_t next_offset = 0;   // the one expected at `end`
    const char* payload = nullptr;   // kRecord: message, then metadata
    bool padding_damaged = false;    // kRecord: the bytes after the payload are not zero
    int io_error = 0;                // errno when the bytes could not be read
  };

  static constexpr std::uint64_t kScanAhead = 1 << 20;
  static constexpr std::uint64_t kReadAhead = 256 << 10;

  explicit SegmentCursor(std::uint64_t ahead) : window_(-1, ahead) {}

  void start(int fd, SegmentKey key, std::uint64_t position, std::uint64_t offset);

  // What is at the position; does not move. `check_payload` false skips reading and checking the
  // payload of a good header (for seeking).
  Event read(std::uint64_t limit, bool check_payload = true);
  // Continue after the event.
  void advance(const Event& event) {
    position_ = event.end;
    offset_ = event.next_offset;
  }

  std::uint64_t position() const { return position_; }
  std::uint64_t offset() const { return offset_; }

 private:
  Event resync(std::uint64_t limit);

  FileWindow window_;
  SegmentKey key_;
  std::uint64_t position_ = 0;
  std::uint64_t offset_ = 0;
};

}  // namespace mxring::seglog
