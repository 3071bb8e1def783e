#include "relay/lmtp_notes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/crc32c.h"
#include "base/random.h"
#include "relay/fault_seam.h"
#include "relay/files.h"
#include "seglog/log_directory.h"

namespace mxring::relay {

namespace {

constexpr std::string_view kMagic = "MXRGNOT1";
constexpr std::size_t kHeadBytes = 16;
constexpr std::size_t kNoteBytes = 16;
constexpr std::uint64_t kRewriteBytes = 256 << 10;

template <class T>
void append(std::string& out, T value) {
  char bytes[sizeof value];
  std::memcpy(bytes, &value, sizeof value);
  out.append(bytes, sizeof value);
}

template <class T>
T load(std::string_view bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

}  // namespace

std::string LmtpNotes::entry(Offset offset, std::uint32_t recipient) const {
  std::string checked;
  append(checked, id_);
  append(checked, offset);
  append(checked, recipient);
  std::string out = checked.substr(sizeof id_);
  append(out, base::crc32c(0, checked.data(), checked.size()));
  return out;
}

std::expected<LmtpNotes, int> LmtpNotes::open(int groups_fd, const std::string& group,
                                              seglog::CursorFields& fields, Offset committed) {
  LmtpNotes notes;
  notes.groups_fd_ = groups_fd;
  notes.name_ = group + ".notes";
  std::memcpy(&notes.id_, fields.sink, sizeof notes.id_);
  const bool moved = fields.sink[seglog::kSinkMovedAt] != 0;
  std::string text;
  const auto file = seglog::ReadFile::open_at(groups_fd, notes.name_);
  struct stat status {};
  if (file.is_open() && ::fstat(file.fd(), &status) == 0) {
    text.resize(static_cast<std::size_t>(status.st_size));
    const std::int64_t got = seglog::read_fully(file.fd(), text.data(), text.size(), 0);
    if (got < 0) return std::unexpected(static_cast<int>(-got));
    text.resize(static_cast<std::size_t>(got));
  }
  const bool ours = !moved && notes.id_ != 0 && text.size() >= kHeadBytes &&
                    text.starts_with(kMagic) && load<std::uint64_t>(text, 8) == notes.id_;
  for (std::size_t at = kHeadBytes; ours && at + kNoteBytes <= text.size(); at += kNoteBytes) {
    const auto offset = load<std::uint64_t>(text, at);
    const auto recipient = load<std::uint32_t>(text, at + 8);
    if (notes.entry(offset, recipient) != text.substr(at, kNoteBytes)) break;
    if (offset >= committed) notes.notes_[offset].insert(recipient);
  }
  while (!ours && (notes.id_ == 0 || moved)) {
    notes.id_ = base::random_u64();
    if (notes.id_ != 0) break;
  }
  std::memcpy(fields.sink, &notes.id_, sizeof notes.id_);
  fields.sink[seglog::kSinkMovedAt] = 0;
  if (auto begun = notes.begin_anew(); !begun) return std::unexpected(begun.error());
  return notes;
}

std::expected<void, int> LmtpNotes::begin_anew() {
  std::string text(kMagic);
  append(text, id_);
  for (const auto& [offset, recipients] : notes_) {
    for (const std::uint32_t recipient : recipients) text += entry(offset, recipient);
  }
  constexpr unsigned kMode = 0640;
  if (auto wrote = write_whole(groups_fd_, name_, text, kMode); !wrote) return wrote;
  file_ = base::OwnedFd(
      ::openat(groups_fd_, name_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  if (!file_.valid() || seam::fsync(groups_fd_) != 0) return std::unexpected(errno);
  written_ = text.size();
  unsynced_ = false;
  return {};
}

std::expected<void, int> LmtpNotes::add(Offset offset, std::uint32_t recipient) {
  const std::string bytes = entry(offset, recipient);
  if (auto wrote = write_all(file_.get(), bytes); !wrote) return wrote;
  notes_[offset].insert(recipient);
  written_ += bytes.size();
  unsynced_ = true;
  return {};
}

bool LmtpNotes::has(Offset offset, std::uint32_t recipient) const {
  const auto found = notes_.find(offset);
  return found != notes_.end() &&
         (found->second.contains(recipient) || found->second.contains(kAll));
}

std::expected<void, int> LmtpNotes::sync() {
  if (!unsynced_) return {};
  if (seam::fdatasync(file_.get()) != 0) return std::unexpected(errno);
  unsynced_ = false;
  return {};
}

std::expected<void, int> LmtpNotes::committed(Offset next) {
  notes_.erase(notes_.begin(), notes_.lower_bound(next));
  return written_ < kRewriteBytes ? std::expected<void, int>{} : begin_anew();
}

}  // namespace mxring::relay
