#include "seglog/groups.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "seglog/identity.h"

namespace mxring::seglog {

std::expected<ReadFile, int> open_groups(int log_fd) {
  ReadFile folder(::openat(log_fd, kGroupsName, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.is_open()) return std::unexpected(errno);
  return folder;
}

std::expected<ReadFile, int> make_groups(int log_fd) {
  constexpr mode_t kMode = 03770;
  if (::mkdirat(log_fd, kGroupsName, 0770) == 0) {
    // The umask is not asked: the group's members are who this folder is for.
    if (::fchmodat(log_fd, kGroupsName, kMode, 0) != 0) return std::unexpected(errno);
    if (::fsync(log_fd) != 0 && errno != EBADF && errno != EINVAL) return std::unexpected(errno);
  } else if (errno != EEXIST) {
    return std::unexpected(errno);
  }
  return open_groups(log_fd);
}

std::expected<std::vector<std::string>, int> list_groups(int log_fd) {
  const auto folder = open_groups(log_fd);
  if (!folder && folder.error() == ENOENT) return std::vector<std::string>{};
  if (!folder) return std::unexpected(folder.error());
  const auto names = list_names(folder->fd());
  if (!names) return std::unexpected(names.error());
  std::vector<std::string> groups;
  for (const std::string& name : *names) {
    if (auto group = parse_cursor_name(name)) groups.push_back(std::move(*group));
  }
  std::sort(groups.begin(), groups.end());
  return groups;
}

std::optional<LogId> log_id_at(int log_fd, Offset offset) {
  const auto bases = list_segments(log_fd).value_or(std::vector<std::uint64_t>{});
  const auto after = std::upper_bound(bases.begin(), bases.end(), offset);
  if (after == bases.begin()) return std::nullopt;
  const auto segment = open_segment(log_fd, *(after - 1));
  return segment ? std::optional(log_id_of(segment->header)) : std::nullopt;
}

namespace {

bool any_segment_bears(int log_fd, const LogId& id) {
  for (const std::uint64_t base : list_segments(log_fd).value_or(std::vector<std::uint64_t>{})) {
    const auto segment = open_segment(log_fd, base);
    if (segment && log_id_of(segment->header) == id) return true;
  }
  return false;
}

}  // namespace

CursorPlace place_of(int log_fd, const CursorFields& cursor, LogExtent log) {
  const LogId id = cursor.id();
  const bool ours = current_log_id(log_fd) == id;
  if (cursor.next > log.end) {
    return ours || any_segment_bears(log_fd, id) ? CursorPlace::kBeyondEnd : CursorPlace::kOtherLog;
  }
  if (cursor.next > log.first && log_id_at(log_fd, cursor.next - 1) == id) {
    return CursorPlace::kHere;
  }
  if (cursor.next < log.end && cursor.next >= log.first) {
    return log_id_at(log_fd, cursor.next) == id ? CursorPlace::kHere : CursorPlace::kOtherLog;
  }
  // The records around it are gone, or there has not been any yet.
  const bool here = ours || any_segment_bears(log_fd, id) || (!id.known() && log.first > 0);
  return here ? CursorPlace::kHere : CursorPlace::kOtherLog;
}

std::expected<std::vector<Hold>, int> read_holds(int log_fd) {
  const auto groups = list_groups(log_fd);
  if (!groups) return std::unexpected(groups.error());
  std::vector<Hold> holds;
  if (groups->empty()) return holds;
  const auto folder = open_groups(log_fd);
  if (!folder) return std::unexpected(folder.error());
  for (const std::string& group : *groups) {
    const ReadFile file = ReadFile::open_at(folder->fd(), cursor_name(group));
    if (!file.is_open() && errno == ENOENT) continue;  // deleted meanwhile
    const auto fields = read_cursor(file.fd());        // of no file: EBADF
    if (!fields || !*fields) {
      holds.push_back({group, 0, true});
    } else if ((*fields)->holds()) {
      holds.push_back({group, (*fields)->next, false});
    }
  }
  return holds;
}

}  // namespace mxring::seglog
