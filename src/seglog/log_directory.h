// The files of a log directory: which segments there are, opening them, and whether a writer lives.
#pragma once

#include <mxring/log_reader.h>

#include <cstdint>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "seglog/format.h"

namespace mxring::seglog {

// A descriptor that closes itself. Reading only: what must survive a crash is written through
// uring::File.
class ReadFile {
 public:
  ReadFile() = default;
  explicit ReadFile(int fd) : fd_(fd) {}
  ReadFile(ReadFile&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  ReadFile& operator=(ReadFile&& other) noexcept;
  ~ReadFile() { reset(); }

  static ReadFile open_at(int directory_fd, const std::string& name);  // check is_open(), errno
  bool is_open() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  void reset();

 private:
  int fd_ = -1;
};

// The directory of a log, for reading. Told apart: there is none, and it cannot be opened.
std::expected<ReadFile, LogError> open_log(const std::filesystem::path& directory);

// The base offsets of all segments, ascending. errno on failure.
std::expected<std::vector<std::uint64_t>, int> list_segments(int directory_fd);
// Every name in the directory, in no order.
std::expected<std::vector<std::string>, int> list_names(int directory_fd);

// The segments recovery has set aside, in the order of their offsets. What cannot be listed is left
// out.
struct SetAside {
  DamagedName name;
  std::uint64_t file_bytes = 0;
};
std::vector<SetAside> list_set_aside(int directory_fd);

// True while some process holds this LOCK. Asking takes no lock itself, so readers never stand in
// the way of a writer that starts. errno when it cannot be asked.
std::expected<bool, int> lock_is_held(int lock_fd);

// Errors that say nothing about the log, only about who asks and with what: a reader that took them
// for a missing file would see less than there is.
bool says_nothing_of_the_log(int error);

struct OpenSegment {
  ReadFile file;
  SegmentHeader header;
  std::uint64_t file_bytes = 0;
  std::uint64_t inode = 0;
  SegmentKey key() const { return {header.epoch, header.salt}; }
};

struct SegmentError {
  enum class Kind : std::uint8_t { kGone, kIo, kDamaged, kVersion } kind = Kind::kIo;
  int error = 0;
  std::uint64_t file_bytes = 0;
};

// Opens `base_offset`'s segment and checks its header, also against its name.
std::expected<OpenSegment, SegmentError> open_segment(int directory_fd, std::uint64_t base_offset);

// False once the name leads elsewhere, or the file has been taken for a new segment: whatever was
// read from it meanwhile is not to be trusted, and is not damage either.
bool still_same_segment(int directory_fd, const OpenSegment& segment);

// Reads exactly `size` bytes unless the file ends before; the count, or -errno.
std::int64_t read_fully(int fd, char* bytes, std::uint64_t size, std::uint64_t position);

// The seal at the end of a file of `file_bytes`, when there is one.
std::optional<RecordHeader> read_seal(int fd, std::uint64_t file_bytes, SegmentKey key);

}  // namespace mxring::seglog
