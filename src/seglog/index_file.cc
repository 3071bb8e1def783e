#include "seglog/index_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace mxring::seglog {

namespace {

constexpr std::uint64_t kIndexBytesMax = 64 << 20;  // far above any real one: a guard, not a limit

}  // namespace

std::vector<IndexEntry> read_index(int directory_fd, const SegmentHeader& segment) {
  std::vector<IndexEntry> entries;
  const ReadFile file = ReadFile::open_at(directory_fd, index_name(segment.base_offset));
  struct stat status {};
  if (!file.is_open() || ::fstat(file.fd(), &status) != 0) return entries;
  const auto size = std::min(static_cast<std::uint64_t>(status.st_size), kIndexBytesMax);
  if (size < sizeof(IndexHead)) return entries;
  std::vector<char> bytes(size);
  const std::int64_t got = read_fully(file.fd(), bytes.data(), size, 0);
  if (got < static_cast<std::int64_t>(sizeof(IndexHead))) return entries;
  IndexHead head;
  std::memcpy(&head, bytes.data(), sizeof head);
  if (head.magic != kIndexMagic || head.version != kFormatVersion || head.epoch != segment.epoch ||
      index_head_crc(head) != head.crc) {
    return entries;
  }
  const std::size_t count = (static_cast<std::size_t>(got) - sizeof head) / sizeof(IndexEntry);
  IndexEntry last{segment.base_offset, kHeaderBlockBytes, INT64_MIN, 0, 0};
  for (std::size_t i = 0; i < count; ++i) {
    IndexEntry entry;
    std::memcpy(&entry, bytes.data() + sizeof head + i * sizeof entry, sizeof entry);
    if (index_entry_crc(entry, segment.epoch) != entry.crc) break;
    if (entry.offset <= last.offset || entry.position <= last.position ||
        entry.newest_before_us < last.newest_before_us) {
      break;
    }
    entries.push_back(entry);
    last = entry;
  }
  return entries;
}

void IndexFile::create(int directory_fd, const SegmentHeader& segment,
                       const std::vector<IndexEntry>& entries) {
  const std::string name = index_name(segment.base_offset);
  file_ =
      ReadFile(::openat(directory_fd, name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  epoch_ = segment.epoch;
  position_ = 0;
  IndexHead head;
  head.epoch = epoch_;
  head.crc = index_head_crc(head);
  put(&head, sizeof head);
  for (const IndexEntry& entry : entries) append(entry);
}

void IndexFile::append(IndexEntry entry) {
  MXRING_ASSERT(entry.position >= kHeaderBlockBytes);
  entry.crc = index_entry_crc(entry, epoch_);
  put(&entry, sizeof entry);
}

void IndexFile::put(const void* bytes, std::size_t size) {
  if (!file_.is_open()) return;
  if (::pwrite(file_.fd(), bytes, size, static_cast<off_t>(position_)) !=
      static_cast<ssize_t>(size)) {
    file_.reset();
    return;
  }
  position_ += size;
}

}  // namespace mxring::seglog
