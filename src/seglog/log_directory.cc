#include "seglog/log_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

namespace mxring::seglog {

ReadFile& ReadFile::operator=(ReadFile&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

ReadFile ReadFile::open_at(int directory_fd, const std::string& name) {
  return ReadFile(::openat(directory_fd, name.c_str(), O_RDONLY | O_CLOEXEC));
}

void ReadFile::reset() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

std::expected<ReadFile, LogError> open_log(const std::filesystem::path& directory) {
  ReadFile opened(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  LogError error;
  if (!opened.is_open()) {
    const bool missing = errno == ENOENT || errno == ENOTDIR;
    error.kind = missing ? LogErrorKind::kNotALog : LogErrorKind::kIo;
    error.message = directory.string() + ": " + std::system_category().message(errno);
    return std::unexpected(std::move(error));
  }
  const auto names = list_names(opened.fd());
  if (!names) {
    error.message = directory.string() + ": " + std::system_category().message(names.error());
    return std::unexpected(std::move(error));
  }
  const bool is_log = std::any_of(names->begin(), names->end(), [](const std::string& name) {
    return parse_segment_name(name).has_value() || name == kStateName;
  });
  if (!is_log) {
    error.kind = LogErrorKind::kNotALog;
    error.message = directory.string() + ": holds no mxring log";
    return std::unexpected(std::move(error));
  }
  return opened;
}

std::expected<std::vector<std::string>, int> list_names(int directory_fd) {
  // A descriptor of its own: readdir moves the position that dup(2) would share.
  const int fd = ::openat(directory_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(errno);
  DIR* directory = ::fdopendir(fd);
  if (directory == nullptr) {
    const int error = errno;
    ::close(fd);
    return std::unexpected(error);
  }
  std::vector<std::string> names;
  errno = 0;
  while (const dirent* entry = ::readdir(directory)) names.emplace_back(entry->d_name);
  const int error = errno;
  ::closedir(directory);
  if (error != 0) return std::unexpected(error);
  return names;
}

std::expected<std::vector<std::uint64_t>, int> list_segments(int directory_fd) {
  const auto names = list_names(directory_fd);
  if (!names) return std::unexpected(names.error());
  std::vector<std::uint64_t> bases;
  for (const std::string& name : *names) {
    if (const auto base = parse_segment_name(name)) bases.push_back(*base);
  }
  std::sort(bases.begin(), bases.end());
  return bases;
}

std::vector<SetAside> list_set_aside(int directory_fd) {
  std::vector<SetAside> found;
  for (const std::string& name : list_names(directory_fd).value_or(std::vector<std::string>{})) {
    const auto parsed = parse_damaged_name(name);
    if (!parsed) continue;
    struct stat status {};
    ::fstatat(directory_fd, name.c_str(), &status, 0);
    found.push_back({*parsed, static_cast<std::uint64_t>(status.st_size)});
  }
  std::sort(found.begin(), found.end(), [](const SetAside& a, const SetAside& b) {
    return std::pair(a.name.base_offset, a.name.number) <
           std::pair(b.name.base_offset, b.name.number);
  });
  return found;
}

bool says_nothing_of_the_log(int error) {
  return error == EACCES || error == EPERM || error == EMFILE || error == ENFILE || error == ENOMEM;
}

std::expected<bool, int> lock_is_held(int lock_fd) {
  struct flock question {};
  question.l_type = F_RDLCK;
  question.l_whence = SEEK_SET;
  if (::fcntl(lock_fd, F_OFD_GETLK, &question) != 0) return std::unexpected(errno);
  return question.l_type != F_UNLCK;
}

std::int64_t read_fully(int fd, char* bytes, std::uint64_t size, std::uint64_t position) {
  std::uint64_t done = 0;
  while (done < size) {
    const ssize_t got = ::pread(fd, bytes + done, size - done, static_cast<off_t>(position + done));
    if (got == 0) break;
    if (got < 0) {
      if (errno == EINTR) continue;
      if (done > 0) break;  // the bytes before the bad place are good
      return -errno;
    }
    done += static_cast<std::uint64_t>(got);
  }
  return static_cast<std::int64_t>(done);
}

namespace {

bool name_leads_to(int directory_fd, std::uint64_t base_offset, std::uint64_t inode) {
  struct stat status {};
  return ::fstatat(directory_fd, segment_name(base_offset).c_str(), &status, 0) == 0 &&
         status.st_ino == inode;
}

}  // namespace

std::expected<OpenSegment, SegmentError> open_segment(int directory_fd, std::uint64_t base_offset) {
  using Kind = SegmentError::Kind;
  OpenSegment segment;
  segment.file = ReadFile::open_at(directory_fd, segment_name(base_offset));
  if (!segment.file.is_open()) {
    return std::unexpected(SegmentError{errno == ENOENT ? Kind::kGone : Kind::kIo, errno, 0});
  }
  struct stat status {};
  if (::fstat(segment.file.fd(), &status) != 0) {
    return std::unexpected(SegmentError{Kind::kIo, errno, 0});
  }
  segment.file_bytes = static_cast<std::uint64_t>(status.st_size);
  segment.inode = status.st_ino;
  char block[kHeaderBlockBytes];
  const std::int64_t got = read_fully(segment.file.fd(), block, sizeof block, 0);
  const auto io_error = got < 0 ? static_cast<int>(-got) : 0;
  HeaderFault fault = HeaderFault::kDamaged;
  const auto header = decode_segment_header(
      std::string_view(block, got < 0 ? 0 : static_cast<std::size_t>(got)), &fault);
  if (header && header->base_offset == base_offset) {
    segment.header = *header;
    return segment;
  }
  // A wrong header may be that of the file's next life: then the name is gone by now.
  if (io_error == 0 && !name_leads_to(directory_fd, base_offset, segment.inode)) {
    return std::unexpected(SegmentError{Kind::kGone, 0, segment.file_bytes});
  }
  const Kind kind = io_error != 0                    ? Kind::kIo
                    : fault == HeaderFault::kVersion ? Kind::kVersion
                                                     : Kind::kDamaged;
  return std::unexpected(SegmentError{kind, io_error, segment.file_bytes});
}

bool still_same_segment(int directory_fd, const OpenSegment& segment) {
  // A segment is renamed before its file is used again, so as long as the name leads here, what was
  // read before belongs to it.
  return name_leads_to(directory_fd, segment.header.base_offset, segment.inode);
}

std::optional<RecordHeader> read_seal(int fd, std::uint64_t file_bytes, SegmentKey key) {
  if (file_bytes < kHeaderBlockBytes + kRecordHeaderBytes) return std::nullopt;
  const std::uint64_t position = file_bytes - kRecordHeaderBytes;
  if (position % kRecordAlign != 0) return std::nullopt;
  char bytes[kRecordHeaderBytes];
  if (read_fully(fd, bytes, sizeof bytes, position) != static_cast<std::int64_t>(sizeof bytes)) {
    return std::nullopt;
  }
  auto header = decode_record_header(bytes, key);
  if (!header || !header->is_seal()) return std::nullopt;
  return header;
}

}  // namespace mxring::seglog
