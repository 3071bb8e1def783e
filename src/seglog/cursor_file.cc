#include "seglog/cursor_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

#include "base/assert.h"
#include "base/crc32c.h"

namespace mxring::seglog {

namespace {

constexpr std::string_view kCursorSuffix = ".cursor";
constexpr std::string_view kOwnerSuffix = ".owner";
constexpr std::size_t kGroupNameMax = 64;

std::uint32_t cursor_crc(const CursorFields& fields) {
  char bytes[sizeof fields];
  std::memcpy(bytes, &fields, sizeof fields);
  return base::crc32c(0, bytes, offsetof(CursorFields, crc));
}

std::uint64_t slot_of(std::uint64_t generation) {
  return generation % 2 * kCursorSlotAt;
}

// One system call, so that a full disk or a signal leaves nothing but a slot that is not valid.
int write_at(int fd, const void* bytes, std::size_t size, std::uint64_t position) {
  ssize_t written = 0;
  do {
    written = ::pwrite(fd, bytes, size, static_cast<off_t>(position));
  } while (written < 0 && errno == EINTR);
  if (written < 0) return errno;
  return static_cast<std::size_t>(written) == size ? 0 : ENOSPC;
}

}  // namespace

LogId CursorFields::id() const {
  LogId id;
  std::copy(std::begin(log_id), std::end(log_id), id.bytes.begin());
  return id;
}

void CursorFields::set_id(const LogId& id) {
  std::copy(id.bytes.begin(), id.bytes.end(), std::begin(log_id));
}

bool is_group_name(std::string_view name) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= kGroupNameMax &&
         std::all_of(name.begin(), name.end(), good);
}

std::string cursor_name(std::string_view group) {
  return std::string(group).append(kCursorSuffix);
}

std::optional<std::string> parse_cursor_name(std::string_view name) {
  if (!name.ends_with(kCursorSuffix)) return std::nullopt;
  name.remove_suffix(kCursorSuffix.size());
  return is_group_name(name) ? std::optional(std::string(name)) : std::nullopt;
}

std::expected<std::optional<CursorFields>, int> read_cursor(int fd) {
  std::optional<CursorFields> best;
  for (const std::uint64_t slot : {std::uint64_t{0}, kCursorSlotAt}) {
    CursorFields fields;
    char bytes[sizeof fields];
    const std::int64_t got = read_fully(fd, bytes, sizeof bytes, slot);
    if (got < 0) return std::unexpected(static_cast<int>(-got));
    if (got != static_cast<std::int64_t>(sizeof bytes)) continue;
    std::memcpy(&fields, bytes, sizeof fields);
    const bool good = fields.magic == kCursorMagic && fields.crc == cursor_crc(fields) &&
                      slot_of(fields.generation) == slot && fields.next <= kOffsetMax;
    if (good && (!best || fields.generation > best->generation)) best = fields;
  }
  return best;
}

bool cursor_is_owned(int fd) {
  struct flock question {};
  question.l_type = F_RDLCK;
  question.l_whence = SEEK_SET;
  return ::fcntl(fd, F_OFD_GETLK, &question) == 0 && question.l_type != F_UNLCK;
}

std::int64_t owner_pid(int groups_fd, const std::string& group) {
  const ReadFile file = ReadFile::open_at(groups_fd, group + std::string(kOwnerSuffix));
  char text[24];
  const std::int64_t got = file.is_open() ? read_fully(file.fd(), text, sizeof text, 0) : 0;
  std::int64_t pid = 0;
  if (got > 0) std::from_chars(text, text + got, pid);
  return pid;
}

std::expected<void, CursorFile::Refusal> CursorFile::lock(int groups_fd, const std::string& group) {
  struct flock request {};
  request.l_type = F_WRLCK;
  request.l_whence = SEEK_SET;
  if (::fcntl(file_.fd(), F_OFD_SETLK, &request) != 0) {
    if (errno != EAGAIN && errno != EACCES) return std::unexpected(Refusal{errno, {}});
    const std::int64_t pid = owner_pid(groups_fd, group);
    return std::unexpected(Refusal{0, pid > 0 ? std::to_string(pid) : std::string()});
  }
  // The text is for people; a lock without it is as good.
  const std::string text = std::to_string(::getpid()) + "\n";
  const std::string name = group + std::string(kOwnerSuffix);
  const ReadFile owner(
      ::openat(groups_fd, name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (owner.is_open()) write_at(owner.fd(), text.data(), text.size(), 0);
  return {};
}

bool CursorFile::same_file(int groups_fd, const std::string& group) const {
  struct stat named {};
  struct stat open {};
  return ::fstatat(groups_fd, cursor_name(group).c_str(), &named, 0) == 0 &&
         ::fstat(file_.fd(), &open) == 0 && named.st_ino == open.st_ino;
}

std::expected<CursorFile, CursorFile::Refusal> CursorFile::open(int groups_fd,
                                                                const std::string& group) {
  MXRING_ASSERT(is_group_name(group));
  CursorFile cursor;
  cursor.file_ =
      ReadFile(::openat(groups_fd, cursor_name(group).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!cursor.file_.is_open()) return std::unexpected(Refusal{errno, {}});
  if (auto locked = cursor.lock(groups_fd, group); !locked) return std::unexpected(locked.error());
  // Between opening and locking another owner may have deleted it.
  if (!cursor.same_file(groups_fd, group)) return std::unexpected(Refusal{ENOENT, {}});
  auto fields = read_cursor(cursor.file_.fd());
  if (!fields) return std::unexpected(Refusal{fields.error(), {}});
  cursor.fields_ = *fields;
  return cursor;
}

std::expected<CursorFile, CursorFile::Refusal> CursorFile::create(int groups_fd,
                                                                  const std::string& group,
                                                                  CursorFields fields) {
  MXRING_ASSERT(is_group_name(group));
  const std::string temporary = group + "." + std::to_string(::getpid()) + ".tmp";
  CursorFile cursor;
  cursor.file_ = ReadFile(::openat(groups_fd, temporary.c_str(),
                                   O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640));
  if (!cursor.file_.is_open()) return std::unexpected(Refusal{errno, {}});
  fields.generation = 1;
  fields.crc = cursor_crc(fields);
  char bytes[kCursorBytes] = {};
  std::memcpy(bytes + slot_of(fields.generation), &fields, sizeof fields);
  int error = write_at(cursor.file_.fd(), bytes, sizeof bytes, 0);
  if (error == 0 && ::fsync(cursor.file_.fd()) != 0) error = errno;
  // Locked before it has its name, so that nobody else gets it first.
  std::expected<void, Refusal> locked;
  if (error == 0) locked = cursor.lock(groups_fd, group);
  const std::string name = cursor_name(group);
  if (error == 0 && locked &&
      ::renameat2(groups_fd, temporary.c_str(), groups_fd, name.c_str(), RENAME_NOREPLACE) != 0) {
    error = errno;
  }
  if (error != 0 || !locked) ::unlinkat(groups_fd, temporary.c_str(), 0);
  if (!locked) return std::unexpected(locked.error());
  if (error == 0 && ::fsync(groups_fd) != 0) error = errno;
  if (error != 0) return std::unexpected(Refusal{error, {}});
  cursor.fields_ = fields;
  return cursor;
}

std::expected<void, int> CursorFile::write(CursorFields fields) {
  const std::uint64_t before = fields_ ? fields_->generation : 0;
  fields.generation = before + 1;
  fields.crc = cursor_crc(fields);
  // A damaged file: the other slot may hold a greater generation that is not valid now, and must
  // never become so. Both are written.
  if (!fields_) {
    char bytes[kCursorBytes] = {};
    std::memcpy(bytes + slot_of(fields.generation), &fields, sizeof fields);
    if (const int error = write_at(file_.fd(), bytes, sizeof bytes, 0)) {
      return std::unexpected(error);
    }
  } else if (const int error =
                 write_at(file_.fd(), &fields, sizeof fields, slot_of(fields.generation))) {
    return std::unexpected(error);
  }
  if (::fdatasync(file_.fd()) != 0) return std::unexpected(errno);
  fields_ = fields;
  return {};
}

}  // namespace mxring::seglog
