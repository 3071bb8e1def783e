// LogReader: finds the segment of the wanted offset, walks it with SegmentCursor, and tells apart
// three reasons for bytes that are no record: not written yet (LogEnd knows), removed by retention
// meanwhile (the name leads elsewhere), and damage.
#include <algorithm>
#include <chrono>
#include <system_error>
#include <thread>
#include <utility>

#include "base/probe.h"
#include "mxring/log_reader.h"
#include "seglog/identity.h"
#include "seglog/index_file.h"
#include "seglog/log_directory.h"
#include "seglog/log_end.h"
#include "seglog/metadata.h"
#include "seglog/segment_cursor.h"
#include "seglog/segment_seek.h"
#include "seglog/wake_page.h"

namespace mxring {

using seglog::kHeaderBlockBytes;
using seglog::OpenSegment;
using seglog::SegmentCursor;
using Kind = SegmentCursor::Kind;

namespace {

// A name that is listed but cannot be opened has been removed in between; many times in a row it
// is something else, such as a link that leads nowhere.
constexpr int kRemovalsMax = 100;
constexpr auto kPollMin = std::chrono::milliseconds(1);
constexpr auto kPollMax = std::chrono::milliseconds(50);
// Then the lock is asked again: nobody wakes for a writer that was killed.
constexpr std::chrono::nanoseconds kWaitMax = std::chrono::milliseconds(500);

std::string range_text(Offset first, Offset next) {
  if (next == first + 1) return "record " + std::to_string(first);
  return "records " + std::to_string(first) + " to " + std::to_string(next - 1);
}

}  // namespace

struct LogReader::Impl {
  Impl(std::filesystem::path log, seglog::ReadFile opened)
      : path(std::move(log)),
        directory(std::move(opened)),
        end(directory.fd()),
        page(directory.fd()) {}

  std::filesystem::path path;
  seglog::ReadFile directory;
  seglog::LogEnd end;
  seglog::WakePage page;
  std::vector<std::uint64_t> bases;
  std::optional<OpenSegment> segment;  // the one `cursor` walks
  SegmentCursor cursor{SegmentCursor::kReadAhead};
  Offset wanted = 0;  // what next() returns next
  bool refusals_wanted = false;
  int removals_seen = 0;  // in a row, between listing a segment and opening it
  // next() has looked and found nothing: for which offset, and the page's word from before.
  struct Look {
    Offset wanted = 0;
    std::uint32_t word = 0;
  };
  std::optional<Look> last_look;

  void list();
  bool more();
  std::expected<std::optional<Record>, LogError> next();
  std::optional<LogError> open_wanted();
  std::optional<LogError> unreadable(std::uint64_t base, const seglog::SegmentError& error);
  std::optional<LogError> step(std::optional<Record>& out);
  std::optional<LogError> leave_segment(Offset next_offset, std::uint64_t position);
  std::optional<LogError> damaged(Offset next_offset, std::uint64_t position, int io_error,
                                  const char* what);
  LogError gone();
  std::optional<LogError> no_access() const;
  bool is_beyond_end(Offset offset) const {
    return end.sure() && offset > std::max(end.offset(), first());
  }
  LogError beyond_end(Offset offset) const;
  std::optional<Offset> first_at_or_after(const OpenSegment& in, std::int64_t unix_us) const;
  SegmentInfo describe(const OpenSegment& in, std::uint64_t next_base) const;
  std::uint64_t base_after(std::uint64_t base) const;
  std::uint64_t first() const;
  bool replaced() const;
};

void LogReader::Impl::list() {
  if (auto found = seglog::list_segments(directory.fd())) bases = std::move(*found);
}

bool LogReader::Impl::more() {
  if (wanted >= end.offset()) end.refresh();
  return wanted < end.offset();
}

// The base of the segment after this one, or the end of the log.
std::uint64_t LogReader::Impl::base_after(std::uint64_t base) const {
  const auto at = std::upper_bound(bases.begin(), bases.end(), base);
  return at == bases.end() ? std::max(end.offset(), base) : *at;
}

std::uint64_t LogReader::Impl::first() const {
  return bases.empty() ? end.offset() : bases.front();
}

std::expected<std::optional<Record>, LogError> LogReader::Impl::next() {
  std::optional<Record> record;
  while (!record) {
    const auto word = page.word_of_mapped();  // before looking, as in wait()
    last_look.reset();
    if (!more()) {
      if (auto error = no_access()) return std::unexpected(std::move(*error));
      if (is_beyond_end(wanted)) return std::unexpected(beyond_end(wanted));
      if (word) last_look = Look{wanted, *word};
      return std::nullopt;
    }
    if (segment && (cursor.offset() > wanted || replaced())) {
      MXRING_PROBE("reader: its segment was replaced");
      segment.reset();
    }
    auto error = segment ? step(record) : open_wanted();
    if (error) return std::unexpected(std::move(*error));
  }
  return record;
}

// An empty segment gives way to a new one of the same name.
bool LogReader::Impl::replaced() const {
  return !end.agrees_with(*segment) && !seglog::still_same_segment(directory.fd(), *segment);
}

// When the end of the log cannot be told, for lack of rights or of descriptors: no empty log.
std::optional<LogError> LogReader::Impl::no_access() const {
  if (!end.trouble()) return std::nullopt;
  LogError error;
  error.kind = LogErrorKind::kIo;
  error.offset = wanted;
  error.message = (path / end.trouble()->file).string() + ": " +
                  std::system_category().message(end.trouble()->error);
  return error;
}

// An offset that no record has had yet: a log was made anew or restored, or it is another one.
LogError LogReader::Impl::beyond_end(Offset offset) const {
  LogError error;
  error.kind = LogErrorKind::kBeyondEnd;
  error.offset = offset;
  error.message = "offset " + std::to_string(offset) + " is beyond the end of the log, " +
                  std::to_string(std::max(end.offset(), first()));
  return error;
}

LogError LogReader::Impl::gone() {
  MXRING_PROBE("reader: what it wants was removed");
  LogError error;
  error.kind = LogErrorKind::kGone;
  error.offset = wanted;
  error.records = first() - wanted;
  error.message = range_text(wanted, first()) + " removed by retention; the log begins at " +
                  std::to_string(first());
  wanted = first();
  segment.reset();
  return error;
}

// Opens the segment that holds `wanted` and moves there. An error when there is none.
std::optional<LogError> LogReader::Impl::open_wanted() {
  list();
  if (wanted < first()) return gone();
  const std::uint64_t base = *(std::upper_bound(bases.begin(), bases.end(), wanted) - 1);
  auto opened = seglog::open_segment(directory.fd(), base);
  if (!opened) {
    const bool removed = opened.error().kind == seglog::SegmentError::Kind::kGone;
    if (removed && ++removals_seen < kRemovalsMax) {
      MXRING_PROBE("reader: a segment went while it was opened");
      return std::nullopt;  // list again
    }
    return unreadable(base, opened.error());
  }
  removals_seen = 0;
  segment = std::move(*opened);
  if (!end.agrees_with(*segment)) end.refresh();
  seglog::seek_in_segment(directory.fd(), *segment, end.limit(*segment), wanted, cursor);
  return std::nullopt;
}

std::optional<LogError> LogReader::Impl::unreadable(std::uint64_t base,
                                                    const seglog::SegmentError& error) {
  LogError report;
  report.kind = LogErrorKind::kDamaged;
  report.message = "segment header damaged";
  if (error.kind == seglog::SegmentError::Kind::kVersion) {
    report.kind = LogErrorKind::kVersion;
    report.message = "written by a newer version of mxring";
  } else if (error.kind == seglog::SegmentError::Kind::kIo) {
    report.kind = LogErrorKind::kIo;
    report.message = std::system_category().message(error.error);
  }
  const Offset next_offset = base_after(base);
  report.offset = wanted;
  report.records = next_offset - wanted;
  report.segment = seglog::segment_name(base);
  report.message = report.segment + ": " + report.message + "; " + range_text(wanted, next_offset) +
                   " cannot be read";
  wanted = next_offset;
  return report;
}

// One event of the open segment: sets `out`, or returns an error, or only moves on.
std::optional<LogError> LogReader::Impl::step(std::optional<Record>& out) {
  const auto event = cursor.read(end.limit(*segment));
  switch (event.kind) {
    case Kind::kRecord: {
      Record& record = out.emplace();
      record.offset = event.header.offset;
      record.log_id = seglog::log_id_of(segment->header);
      record.received_at_us = event.header.received_at_us;
      record.bytes = {event.payload, event.header.payload_bytes()};
      record.message = record.bytes.substr(0, event.header.message_bytes);
      const std::string_view metadata{event.payload + event.header.message_bytes,
                                      event.header.metadata_bytes};
      if (!seglog::decode_metadata(metadata, record)) {
        out.reset();
        cursor.advance(event);
        return damaged(event.next_offset, event.position, 0, "metadata malformed");
      }
      cursor.advance(event);
      wanted = event.next_offset;
      return std::nullopt;
    }
    case Kind::kBadPayload:
    case Kind::kBadRegion: {
      const Offset next_offset = std::min(event.next_offset, end.offset());
      if (next_offset <= wanted) {  // bytes that are nothing, but no record is missing
        cursor.advance(event);
        return std::nullopt;
      }
      const bool header_bad = event.kind == Kind::kBadRegion;
      auto error = damaged(next_offset, event.position, event.io_error,
                           header_bad ? "no valid record header" : "checksum does not match");
      if (segment) cursor.advance(event);
      return error;
    }
    case Kind::kSeal:
      return leave_segment(event.next_offset, event.position);
    case Kind::kEnd:
      return leave_segment(wanted, event.position);
  }
  return std::nullopt;
}

// The segment has nothing more; it says that the log goes on with `next_offset`.
std::optional<LogError> LogReader::Impl::leave_segment(Offset next_offset, std::uint64_t position) {
  const std::uint64_t base = segment->header.base_offset;
  list();
  // The name of the next segment decides; after the newest one, its seal and the end of the log.
  const bool newest = bases.empty() || bases.back() <= base;
  const Offset continues = newest ? std::max(end.offset(), next_offset) : base_after(base);
  std::optional<LogError> error;
  if (continues > wanted) {
    error = damaged(std::min(continues, end.offset()), position, 0, "records are missing");
  }
  segment.reset();
  return error;
}

// Reports [wanted, next_offset) as damaged and goes on after it, unless the segment has been
// removed under our hands: then nothing is wrong and open_wanted() finds out what is left.
std::optional<LogError> LogReader::Impl::damaged(Offset next_offset, std::uint64_t position,
                                                 int io_error, const char* what) {
  if (segment && !seglog::still_same_segment(directory.fd(), *segment)) {
    segment.reset();
    return std::nullopt;
  }
  LogError error;
  error.kind = io_error != 0 ? LogErrorKind::kIo : LogErrorKind::kDamaged;
  error.offset = wanted;
  error.records = next_offset - wanted;
  error.position = position;
  if (segment) error.segment = seglog::segment_name(segment->header.base_offset);
  error.message = (segment ? error.segment + " at byte " + std::to_string(position) + ": " : "") +
                  range_text(wanted, next_offset) + ": " +
                  (io_error != 0 ? std::system_category().message(io_error) : what);
  wanted = next_offset;
  return error;
}

// The first record of this segment received at that time or later.
std::optional<Offset> LogReader::Impl::first_at_or_after(const OpenSegment& in,
                                                         std::int64_t unix_us) const {
  SegmentCursor with(SegmentCursor::kReadAhead);
  with.start(in.file.fd(), in.key(), kHeaderBlockBytes, in.header.base_offset);
  for (const seglog::IndexEntry& entry : seglog::read_index(directory.fd(), in.header)) {
    if (entry.newest_before_us >= unix_us) break;
    // Everything before this entry is older than asked for.
    SegmentCursor there(SegmentCursor::kReadAhead);
    there.start(in.file.fd(), in.key(), entry.position, entry.offset);
    if (there.read(end.limit(in), false).kind != Kind::kRecord) break;
    with = std::move(there);
  }
  while (with.offset() < end.offset()) {
    const auto event = with.read(end.limit(in), false);
    if (event.kind == Kind::kSeal || event.kind == Kind::kEnd) break;
    if (event.kind == Kind::kRecord && event.header.received_at_us >= unix_us) {
      return event.header.offset;
    }
    with.advance(event);
  }
  return std::nullopt;
}

SegmentInfo LogReader::Impl::describe(const OpenSegment& in, std::uint64_t next_base) const {
  SegmentInfo info;
  info.file = seglog::segment_name(in.header.base_offset);
  info.first = in.header.base_offset;
  info.file_bytes = in.file_bytes;
  SegmentCursor with(SegmentCursor::kReadAhead);
  with.start(in.file.fd(), in.key(), kHeaderBlockBytes, info.first);
  const auto first_record = with.read(end.limit(in), false);
  if (first_record.kind == Kind::kRecord) {
    info.first_received_at_us = first_record.header.received_at_us;
  }
  const auto seal = seglog::read_seal(in.file.fd(), in.file_bytes, in.key());
  if (seal) {
    info.next = seal->offset;
    info.bytes = in.file_bytes;
    info.last_received_at_us = seal->received_at_us;
  } else {
    info.next = end.is_last(in) ? end.offset() : next_base;
    info.bytes = end.limit(in);
    // The index may be newer than the rest of a copy: an entry beyond the end is none.
    for (const seglog::IndexEntry& entry : seglog::read_index(directory.fd(), in.header)) {
      if (entry.offset >= info.next || entry.position >= info.bytes) break;
      with.start(in.file.fd(), in.key(), entry.position, entry.offset);
      info.last_received_at_us = entry.newest_before_us;
    }
    while (with.offset() < info.next) {
      const auto event = with.read(end.limit(in), false);
      if (event.kind == Kind::kSeal || event.kind == Kind::kEnd) break;
      if (event.kind == Kind::kRecord) {
        info.last_received_at_us = std::max(info.last_received_at_us, event.header.received_at_us);
      }
      with.advance(event);
    }
  }
  info.next = std::max(info.next, info.first);
  info.records = info.next - info.first;
  return info;
}

LogReader::LogReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LogReader::LogReader(LogReader&&) noexcept = default;
LogReader& LogReader::operator=(LogReader&&) noexcept = default;
LogReader::~LogReader() = default;

std::expected<LogReader, LogError> LogReader::open(const std::filesystem::path& directory) {
  auto opened = seglog::open_log(directory);
  if (!opened) return std::unexpected(std::move(opened.error()));
  auto impl = std::make_unique<Impl>(directory, std::move(*opened));
  impl->list();
  impl->end.refresh();
  if (auto error = impl->no_access()) return std::unexpected(std::move(*error));
  impl->wanted = impl->first();
  return LogReader(std::move(impl));
}

std::expected<std::optional<Record>, LogError> LogReader::next() & {
  while (true) {
    auto record = impl_->next();
    const bool refusal = record && *record && (*record)->is_refusal();
    if (!refusal || impl_->refusals_wanted) return record;
  }
}

void LogReader::include_refusals(bool wanted) {
  impl_->refusals_wanted = wanted;
}

std::expected<void, LogError> LogReader::seek(Offset offset) {
  impl_->list();
  impl_->end.refresh();
  if (auto error = impl_->no_access()) return std::unexpected(std::move(*error));
  if (impl_->is_beyond_end(offset)) return std::unexpected(impl_->beyond_end(offset));
  impl_->wanted = offset;
  impl_->segment.reset();
  if (offset < impl_->first()) return std::unexpected(impl_->gone());
  return {};
}

std::expected<void, LogError> LogReader::seek_time(std::int64_t unix_us) {
  impl_->segment.reset();
  impl_->list();
  impl_->end.refresh();
  for (std::uint64_t base : impl_->bases) {
    const auto segment = seglog::open_segment(impl_->directory.fd(), base);
    if (!segment) continue;
    const auto seal = seglog::read_seal(segment->file.fd(), segment->file_bytes, segment->key());
    if (seal && seal->received_at_us < unix_us) continue;
    if (const auto offset = impl_->first_at_or_after(*segment, unix_us)) {
      impl_->wanted = *offset;
      return {};
    }
  }
  impl_->wanted = impl_->end.offset();
  return {};
}

bool LogReader::wait(std::chrono::milliseconds at_most) {
  const auto deadline = std::chrono::steady_clock::now() + at_most;
  std::chrono::nanoseconds pause = kPollMin;
  // next() has just looked, and found nothing: whatever came since has changed the word.
  std::optional<std::uint32_t> word;
  const auto look = std::exchange(impl_->last_look, std::nullopt);
  if (look && look->wanted == impl_->wanted && at_most.count() > 0) word = look->word;
  while (true) {
    if (!word) {
      word = impl_->page.word();  // before looking: a change in between is seen
      // An end that cannot be told, or has gone back, is for next() to say.
      if (impl_->more() || impl_->end.trouble() || impl_->is_beyond_end(impl_->wanted)) return true;
    }
    const std::chrono::nanoseconds left = deadline - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds(0)) return false;
    const bool woken =
        impl_->end.live() && impl_->page.wait(*word, std::min(left, kWaitMax).count());
    word.reset();
    if (woken) continue;
    std::this_thread::sleep_for(std::min(pause, left));
    pause = std::min<std::chrono::nanoseconds>(pause * 2, kPollMax);
  }
}

Offset LogReader::position() const {
  return impl_->wanted;
}

std::expected<void, LogError> LogReader::stay_at(Offset offset) {
  impl_->end.refresh();
  if (auto error = impl_->no_access()) return std::unexpected(std::move(*error));
  if (impl_->is_beyond_end(offset)) return std::unexpected(impl_->beyond_end(offset));
  impl_->wanted = offset;
  impl_->segment.reset();
  return {};
}

LogId LogReader::log_id() const {
  return seglog::current_log_id(impl_->directory.fd());
}

Offset LogReader::first() const {
  impl_->list();
  return impl_->first();
}

Offset LogReader::end() const {
  impl_->end.refresh();
  return std::max(impl_->end.offset(), impl_->first());
}

std::vector<SegmentInfo> LogReader::segments() const {
  impl_->list();
  impl_->end.refresh();
  std::vector<SegmentInfo> infos;
  for (std::uint64_t base : impl_->bases) {
    const auto segment = seglog::open_segment(impl_->directory.fd(), base);
    if (segment) {
      infos.push_back(impl_->describe(*segment, impl_->base_after(base)));
    } else if (segment.error().kind != seglog::SegmentError::Kind::kGone) {
      SegmentInfo info;
      info.file = seglog::segment_name(base);
      info.first = base;
      info.next = impl_->base_after(base);
      info.file_bytes = segment.error().file_bytes;
      infos.push_back(info);
    }
  }
  return infos;
}

}  // namespace mxring
