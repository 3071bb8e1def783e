#include "seglog/recovery.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <tuple>

#include "base/assert.h"
#include "base/clock.h"
#include "base/probe.h"
#include "seglog/index_file.h"
#include "seglog/log_directory.h"
#include "seglog/ownership.h"
#include "seglog/tail.h"

namespace mxring::seglog {

namespace {

// One past the greatest offset in what look like the records of a segment whose header is lost, and
// with it the proof that they are any; its base offset when there is none. A message may contain
// the image of a record: the worst it can do is leave unused as many offsets as the file has room
// for.
std::uint64_t guess_next_offset(int fd, std::uint64_t base_offset, std::uint64_t file_bytes) {
  constexpr std::uint64_t kChunkBytes = 1 << 20;
  const auto chunk = std::make_unique<char[]>(kChunkBytes);
  std::uint64_t next = base_offset;
  for (std::uint64_t at = kHeaderBlockBytes; at < file_bytes;) {
    const std::int64_t got = read_fully(fd, chunk.get(), kChunkBytes, at);
    if (got < static_cast<std::int64_t>(kRecordHeaderBytes)) {
      at += kHeaderBlockBytes;  // unreadable here; or the end
      continue;
    }
    const auto bytes = static_cast<std::uint64_t>(got);
    std::uint64_t i = 0;
    for (; i + kRecordHeaderBytes <= bytes; i += kRecordAlign) {
      RecordHeader header;
      std::memcpy(&header, chunk.get() + i, sizeof header);
      const bool seal = header.is_seal();
      if (!seal && header.magic != kRecordMagic) continue;
      if (header.reserved != 0 || header.span_bytes % kRecordAlign != 0 ||
          header.span_bytes < kRecordHeaderBytes + header.payload_bytes() ||
          header.offset < base_offset ||
          header.offset - base_offset > file_bytes / kRecordHeaderBytes) {
        continue;
      }
      next = std::max(next, header.offset + (seal ? 0 : 1));
    }
    at += i;
  }
  return next;
}

std::string why_unreadable(const SegmentError& error) {
  switch (error.kind) {
    case SegmentError::Kind::kGone:
      return "it cannot be found";
    case SegmentError::Kind::kIo:
      return std::system_category().message(error.error);
    case SegmentError::Kind::kDamaged:
      return "its header is damaged";
    case SegmentError::Kind::kVersion:
      return "written by a newer version of mxring";
  }
  return "";
}

class Recovery {
 public:
  Recovery(const WriterOptions& options, uring::File& directory,
           const std::optional<StateFields>& state, const std::function<void(double)>& progress)
      : options_(options), directory_(directory), state_(state), progress_(progress) {}

  std::expected<Recovered, OpenError> run();

 private:
  using Result = std::expected<void, OpenError>;

  Result take_in(std::uint64_t base);
  Result end_newest(std::uint64_t base);
  Result judge_unreadable_newest(std::uint64_t base, const SegmentError& error);
  Result move_aside(std::uint64_t base);
  void keep_unreadable(std::uint64_t base, const SegmentError& error);
  Result add_set_aside();
  Result pass_offsets_of(const std::string& name, std::uint64_t base, std::uint64_t file_bytes);
  SealedSegment facts_from_outside(std::uint64_t base, std::uint64_t number) const;
  Result end_unsealed(const OpenSegment& segment);
  Result seal_at(uring::File& file, const OpenSegment& segment, const Tail& tail);
  void describe();
  void invariants() const;

  std::uint64_t durable() const { return state_ ? state_->durable : 0; }
  bool must_sync() const { return options_.sync == Sync::kCommit; }
  std::string path(std::uint64_t base) const {
    return (options_.directory / segment_name(base)).string();
  }
  OpenError io(std::uint64_t base, const char* what, int error) const {
    return {OpenErrorKind::kIo, path(base) + ": " + what +
                                    " failed: " + std::system_category().message(error) +
                                    refusal_of_access(error, path(base), options_.directory)};
  }

  const WriterOptions& options_;
  uring::File& directory_;
  const std::optional<StateFields>& state_;
  const std::function<void(double)>& progress_;
  Recovered found_;
  std::string unreadable_;  // the first segment that cannot be read, and why
  std::uint64_t set_aside_base_ = 0;
};

std::expected<Recovered, OpenError> Recovery::run() {
  const auto bases = list_segments(directory_.fd());
  if (!bases) {
    return std::unexpected(
        OpenError{OpenErrorKind::kDirectory, options_.directory.string() + ": cannot be listed: " +
                                                 std::system_category().message(bases.error())});
  }
  if (state_) {
    found_.newest_epoch = state_->epoch;
    found_.report.was_poisoned = state_->poisoned();
    if (state_->poisoned()) MXRING_PROBE("recovery: of a poisoned log");
  }
  found_.next_offset = durable();  // offsets are never used twice, even when every segment has gone
  for (std::size_t i = 0; i < bases->size(); ++i) {
    const std::uint64_t base = (*bases)[i];
    const Result looked = i + 1 < bases->size() ? take_in(base) : end_newest(base);
    if (!looked) return std::unexpected(looked.error());
  }
  // An index whose segment has gone.
  for (const std::string& name : list_names(directory_.fd()).value_or(std::vector<std::string>{})) {
    const auto base = parse_index_name(name);
    if (base && !std::binary_search(bases->begin(), bases->end(), *base)) {
      MXRING_PROBE("recovery: an index without its segment");
      ::unlinkat(directory_.fd(), name.c_str(), 0);
    }
  }
  if (auto added = add_set_aside(); !added) return std::unexpected(added.error());
  // Whatever a seal says: names of segments are offsets that were used.
  for (const SealedSegment& segment : found_.segments) {
    found_.next_offset = std::max(found_.next_offset, segment.base_offset);
  }
  describe();
  invariants();
  return std::move(found_);
}

// What the writer goes on from.
void Recovery::invariants() const {
  MXRING_ASSERT(found_.next_offset >= durable());  // offsets are never used twice
  std::uint64_t last = 0;
  for (const SealedSegment& segment : found_.segments) {
    MXRING_ASSERT(segment.base_offset >= last);
    MXRING_ASSERT(segment.base_offset <= found_.next_offset);
    last = segment.base_offset;
  }
  MXRING_ASSERT((unreadable_.empty()) == (found_.report.unreadable_segments == 0));
}

Recovery::Result Recovery::take_in(std::uint64_t base) {
  auto segment = open_segment(directory_.fd(), base);
  if (!segment) {
    const int error = segment.error().error;
    // Not damage, and one command puts it right.
    if (error == EACCES || error == EPERM) return std::unexpected(io(base, "opening", error));
    MXRING_PROBE("recovery: an older segment cannot be read");
    keep_unreadable(base, segment.error());
    return {};
  }
  found_.newest_epoch = std::max(found_.newest_epoch, segment->header.epoch);
  if (must_sync() && (segment->header.flags & kSegmentUnsynced) != 0) {
    auto file = uring::File::open(path(base), O_RDWR, 0, options_.faults);
    if (!file) return std::unexpected(io(base, "opening", file.error()));
    if (auto synced = file->sync_data(); !synced) {
      return std::unexpected(io(base, "sync", synced.error()));
    }
  }
  const auto seal = read_seal(segment->file.fd(), segment->file_bytes, segment->key());
  std::int64_t newest_us = seal ? seal->received_at_us : 0;
  struct stat status {};
  if (!seal) MXRING_PROBE("recovery: an older segment without a seal");
  if (!seal && ::fstat(segment->file.fd(), &status) == 0) newest_us = status.st_mtime * 1'000'000LL;
  newest_us = std::max(newest_us, segment->header.created_at_us);
  found_.segments.push_back({base, segment->file_bytes, newest_us});
  return {};
}

Recovery::Result Recovery::end_newest(std::uint64_t base) {
  auto segment = open_segment(directory_.fd(), base);
  if (!segment) return judge_unreadable_newest(base, segment.error());
  found_.newest_epoch = std::max(found_.newest_epoch, segment->header.epoch);
  const auto seal = read_seal(segment->file.fd(), segment->file_bytes, segment->key());
  if (!seal) return end_unsealed(*segment);
  found_.next_offset = std::max(durable(), seal->offset);
  if (found_.next_offset > base) {
    MXRING_PROBE("recovery: the newest is sealed");
    return take_in(base);
  }
  MXRING_PROBE("recovery: the newest is sealed and empty");
  return {};  // empty: the new segment takes its place
}

// Readers report it, and it stays as it is.
void Recovery::keep_unreadable(std::uint64_t base, const SegmentError& error) {
  if (found_.report.unreadable_segments++ == 0) {
    unreadable_ = segment_name(base) + " (" + why_unreadable(error) + ")";
  }
  found_.segments.push_back(facts_from_outside(base, 0));
}

// Retention must not take what it knows nothing of for older than everything else.
SealedSegment Recovery::facts_from_outside(std::uint64_t base, std::uint64_t number) const {
  SealedSegment segment{base, 0, 0, number};
  struct stat status {};
  if (::fstatat(directory_.fd(), segment.file_name().c_str(), &status, 0) == 0) {
    segment.file_bytes = static_cast<std::uint64_t>(status.st_size);
    segment.newest_us = status.st_mtim.tv_sec * 1'000'000LL + status.st_mtim.tv_nsec / 1000;
  } else {
    segment.newest_us = base::read_clocks().wall.us;
  }
  return segment;
}

// Those of earlier starts too: they take room and grow old like any segment.
Recovery::Result Recovery::add_set_aside() {
  for (const SetAside& aside : list_set_aside(directory_.fd())) {
    const std::uint64_t base = aside.name.base_offset;
    found_.segments.push_back(facts_from_outside(base, aside.name.number));
    MXRING_PROBE("recovery: a file was set aside before");
    if (base < found_.next_offset) continue;  // the log went on after it long ago
    const std::string name = damaged_name(aside.name);
    if (auto passed = pass_offsets_of(name, base, aside.file_bytes); !passed) return passed;
  }
  std::sort(found_.segments.begin(), found_.segments.end(),
            [](const SealedSegment& a, const SealedSegment& b) {
              return std::tuple(a.base_offset, a.set_aside == 0, a.set_aside) <
                     std::tuple(b.base_offset, b.set_aside == 0, b.set_aside);
            });
  return {};
}

// Offsets are never used twice: not those either that a file may have given without our knowing.
Recovery::Result Recovery::pass_offsets_of(const std::string& name, std::uint64_t base,
                                           std::uint64_t file_bytes) {
  const ReadFile file = ReadFile::open_at(directory_.fd(), name);
  if (!file.is_open()) return std::unexpected(io(base, "opening", errno));
  found_.next_offset = std::max(found_.next_offset, guess_next_offset(file.fd(), base, file_bytes));
  return {};
}

Recovery::Result Recovery::judge_unreadable_newest(std::uint64_t base, const SegmentError& error) {
  if (error.kind == SegmentError::Kind::kIo || error.kind == SegmentError::Kind::kGone) {
    return std::unexpected(io(base, "reading", error.error));
  }
  if (error.kind == SegmentError::Kind::kVersion) {
    return std::unexpected(OpenError{
        OpenErrorKind::kDamaged,
        path(base) + " was written by a newer version of mxring; use that version, or move the "
                     "directory away to begin a new log"});
  }
  // Both copies of its header are lost, and with them its records. We can go on if we know which
  // offsets it may have used.
  if (!state_) {
    return std::unexpected(OpenError{
        OpenErrorKind::kDamaged,
        path(base) + ": its header is damaged and there is no state file to tell which offsets it "
                     "used; move the whole directory away to begin a new log"});
  }
  if (state_->durable <= base) {
    MXRING_PROBE("recovery: the newest is moved aside");
    return move_aside(base);
  }
  MXRING_PROBE("recovery: the newest cannot be read and was acknowledged from");
  if (auto passed = pass_offsets_of(segment_name(base), base, error.file_bytes); !passed) {
    return passed;
  }
  found_.report.damaged_records += found_.next_offset - base;
  keep_unreadable(base, error);
  return {};
}

// As far as we know nothing was ever acknowledged from it, but the state page may be older than the
// file. The new segment may need its name, so it gets another one; it is never written over.
Recovery::Result Recovery::move_aside(std::uint64_t base) {
  DamagedName name{base, 1};
  for (const SetAside& aside : list_set_aside(directory_.fd())) {
    if (aside.name.base_offset == base) name.number = aside.name.number + 1;
  }
  const std::string new_name = damaged_name(name);
  if (::renameat(directory_.fd(), segment_name(base).c_str(), directory_.fd(), new_name.c_str()) !=
      0) {
    return std::unexpected(io(base, "renaming", errno));
  }
  ::unlinkat(directory_.fd(), index_name(base).c_str(), 0);
  if (must_sync()) {
    if (auto synced = directory_.sync_all(); !synced) {
      return std::unexpected(io(base, "sync of the directory", synced.error()));
    }
  }
  found_.next_offset = std::max(found_.next_offset, base);
  found_.report.set_aside = new_name;
  set_aside_base_ = base;
  return {};
}

Recovery::Result Recovery::end_unsealed(const OpenSegment& segment) {
  const std::uint64_t base = segment.header.base_offset;
  auto file = uring::File::open(path(base), O_RDWR, 0, options_.faults);
  if (!file) return std::unexpected(io(base, "opening", file.error()));
  if (must_sync()) {
    // What a killed process left in the page cache goes to the disk, and then out of the cache:
    // after a sync that failed, the cache may show as clean what the disk does not have.
    if (auto synced = file->sync_data(); !synced) {
      return std::unexpected(io(base, "sync", synced.error()));
    }
    ::posix_fadvise(file->fd(), 0, 0, POSIX_FADV_DONTNEED);
  }
  TailQuestion question;
  question.fd = file->fd();
  question.file_bytes = segment.file_bytes;
  question.header = segment.header;
  question.durable = durable();
  question.poisoned = state_ && state_->poisoned();
  question.want_index = true;
  const Tail tail = find_tail(question, progress_);
  RecoveryReport& report = found_.report;
  report.records += tail.records;
  report.damaged_records += tail.damaged_records;
  report.torn_bytes += tail.torn_bytes;
  MXRING_ASSERT(tail.next_offset >= std::max(base, question.poisoned ? 0 : durable()));
  found_.next_offset = tail.next_offset;
  if (tail.torn_bytes > 0) MXRING_PROBE("recovery: a torn tail is cut");
  if (tail.damaged_records > 0) MXRING_PROBE("recovery: acknowledged records are damaged");
  if (tail.sealed) MXRING_PROBE("recovery: a seal that was not at the end");
  if (tail.next_offset == base) MXRING_PROBE("recovery: the newest is empty");
  if (tail.next_offset == base) return {};  // empty: the new segment takes its place
  if (Result ended = seal_at(*file, segment, tail); !ended) return ended;
  found_.segments.push_back({base, tail.position + kRecordHeaderBytes,
                             std::max(tail.newest_us, segment.header.created_at_us)});
  IndexFile index;
  index.create(directory_.fd(), segment.header, tail.index);
  return {};
}

// In this order: seal, sync, cut, sync. Whenever we are interrupted, the next start finds either no
// seal and judges the same bytes again, or a seal with everything before it durable.
Recovery::Result Recovery::seal_at(uring::File& file, const OpenSegment& segment,
                                   const Tail& tail) {
  const std::uint64_t base = segment.header.base_offset;
  MXRING_ASSERT(tail.position >= kHeaderBlockBytes && tail.position % kRecordAlign == 0);
  MXRING_ASSERT(tail.next_offset > base);
  if (!tail.sealed) {
    RecordHeader seal;
    seal.magic = kSealMagic;
    seal.offset = tail.next_offset;
    seal.received_at_us = tail.newest_us;
    seal.durable_before = tail.next_offset;
    seal.span_bytes = kRecordHeaderBytes;
    finish_record_header(seal, segment.key());
    std::uint64_t done = 0;
    while (done < sizeof seal) {
      const iovec slice{reinterpret_cast<char*>(&seal) + done, sizeof seal - done};
      const auto written = file.write_at({&slice, 1}, tail.position + done);
      if (!written) return std::unexpected(io(base, "sealing", written.error()));
      if (*written == 0) return std::unexpected(io(base, "sealing", EIO));
      done += *written;
    }
    if (must_sync()) {
      if (auto synced = file.sync_data(); !synced) {
        return std::unexpected(io(base, "sync", synced.error()));
      }
    }
  }
  if (auto cut = file.truncate(tail.position + kRecordHeaderBytes); !cut) {
    return std::unexpected(io(base, "cutting", cut.error()));
  }
  if (must_sync()) {
    if (auto synced = file.sync_all(); !synced) {
      return std::unexpected(io(base, "sync", synced.error()));
    }
  }
  return {};
}

void Recovery::describe() {
  RecoveryReport& report = found_.report;
  std::string& text = report.text;
  const auto say = [&text](const std::string& part) { text += (text.empty() ? "" : "; ") + part; };
  if (report.was_poisoned) {
    say("the last run stopped after a failed write or sync; what had not been made durable then is "
        "discarded");
  }
  if (report.torn_bytes > 0) {
    say("cut " + std::to_string(report.torn_bytes) +
        " bytes of a batch that was being written when the last run ended; nobody had been told "
        "that it was accepted");
  }
  if (!report.set_aside.empty()) {
    const std::uint64_t unused = found_.next_offset - set_aside_base_;
    say("the header of " + segment_name(set_aside_base_) +
        " is damaged, and it may have held records that had been acknowledged: it is kept as " +
        report.set_aside + ", which readers leave alone" +
        (unused == 0 ? "" : ", and " + std::to_string(unused) + " offsets are not used again"));
  }
  if (report.unreadable_segments > 0) {
    say((report.unreadable_segments == 1
             ? "a segment cannot be read, "
             : std::to_string(report.unreadable_segments) + " segments cannot be read, first ") +
        unreadable_ + ": kept as it is, and for retain_age as old as the file");
  }
  if (report.damaged_records > 0) {
    say(std::to_string(report.damaged_records) +
        " acknowledged records are damaged or missing; they are skipped by readers, and "
        "`mxring log verify` shows where");
  }
}

}  // namespace

std::expected<Recovered, OpenError> recover(const WriterOptions& options, uring::File& directory,
                                            const std::optional<StateFields>& state,
                                            const std::function<void(double)>& progress) {
  return Recovery(options, directory, state, progress).run();
}

}  // namespace mxring::seglog
