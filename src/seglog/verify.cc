#include "seglog/verify.h"

#include <algorithm>
#include <cstring>
#include <system_error>

#include "seglog/log_directory.h"
#include "seglog/log_end.h"
#include "seglog/metadata.h"
#include "seglog/segment_cursor.h"

namespace mxring::seglog {

namespace {

using Kind = SegmentCursor::Kind;

class Verification {
 public:
  Verification(ReadFile directory, const std::function<void(double)>& progress,
               const std::function<bool(std::uint64_t)>& pace)
      : directory_(std::move(directory)), end_(directory_.fd()), progress_(progress), pace_(pace) {}

  std::expected<VerifyReport, LogError> run(const std::filesystem::path& path);

 private:
  void check_segment(std::uint64_t base, std::uint64_t next_base);
  void check_header_copies(const OpenSegment& segment);
  void check_record(const SegmentCursor::Event& event);
  void missing(std::uint64_t next_offset, std::uint64_t position, const char* what);
  void add(const SegmentCursor::Event& event, std::uint64_t records, const char* what);

  ReadFile directory_;
  LogEnd end_;
  const std::function<void(double)>& progress_;
  const std::function<bool(std::uint64_t)>& pace_;
  VerifyReport report_;
  std::string segment_name_;
  Offset expected_ = 0;
  Record record_;
};

std::expected<VerifyReport, LogError> Verification::run(const std::filesystem::path& path) {
  const auto bases = list_segments(directory_.fd()).value_or(std::vector<std::uint64_t>{});
  end_.refresh();
  if (end_.trouble()) {
    LogError error;
    error.message = (path / end_.trouble()->file).string() + ": " +
                    std::system_category().message(end_.trouble()->error);
    return std::unexpected(std::move(error));
  }
  for (const SetAside& aside : list_set_aside(directory_.fd())) {
    report_.damaged.push_back({damaged_name(aside.name), 0, aside.file_bytes,
                               aside.name.base_offset, 0, "set aside: segment header damaged",
                               true});
  }
  report_.first = expected_ = bases.empty() ? end_.offset() : bases.front();
  for (std::size_t i = 0; i < bases.size(); ++i) {
    segment_name_ = segment_name(bases[i]);
    if (bases[i] > end_.offset()) break;  // begun after we asked where the log ends
    if (bases[i] > expected_) missing(bases[i], 0, "no segment holds these records");
    check_segment(bases[i], i + 1 < bases.size() ? bases[i + 1] : end_.offset());
    if (report_.stopped) return std::move(report_);
    if (progress_) progress_(static_cast<double>(i + 1) / static_cast<double>(bases.size()));
  }
  if (end_.offset() > expected_) missing(end_.offset(), 0, "no segment holds these records");
  report_.next = std::max(expected_, end_.offset());
  if (end_.tail() && end_.tail()->torn_bytes > 0) {
    report_.torn_tail = TornTail{segment_name_, end_.tail()->position, end_.tail()->torn_bytes};
  }
  return std::move(report_);
}

void Verification::check_segment(std::uint64_t base, std::uint64_t next_base) {
  auto segment = open_segment(directory_.fd(), base);
  if (!segment) {
    if (segment.error().kind == SegmentError::Kind::kGone) {  // retention was faster
      expected_ = std::max(expected_, next_base);
      return;
    }
    const bool newer = segment.error().kind == SegmentError::Kind::kVersion;
    missing(std::max(next_base, base), 0,
            newer ? "written by a newer version" : "segment header damaged");
    return;
  }
  const std::size_t damaged_before = report_.damaged.size();
  check_header_copies(*segment);
  SegmentCursor cursor(SegmentCursor::kScanAhead);
  cursor.start(segment->file.fd(), segment->key(), kHeaderBlockBytes, base);
  while (true) {
    const auto event = cursor.read(end_.limit(*segment));
    if (event.kind == Kind::kSeal || event.kind == Kind::kEnd) {
      const Offset next = event.kind == Kind::kSeal ? event.next_offset : next_base;
      if (next > cursor.offset()) missing(next, event.position, "records are missing");
      break;
    }
    if (event.first_offset >= end_.offset()) break;
    if (event.kind == Kind::kRecord) {
      check_record(event);
    } else {
      add(event, event.next_offset - event.first_offset,
          event.kind == Kind::kBadRegion ? "no valid record header" : "checksum does not match");
    }
    report_.bytes += event.end - event.position;
    cursor.advance(event);
    expected_ = cursor.offset();
    if (pace_ && !pace_(event.end - event.position)) {
      report_.stopped = true;
      return;
    }
  }
  if (report_.damaged.size() > damaged_before && !still_same_segment(directory_.fd(), *segment)) {
    // Removed and used again while we read: what we took for damage was the file's next life.
    report_.damaged.resize(damaged_before);
    expected_ = std::max(expected_, next_base);
  }
}

void Verification::check_header_copies(const OpenSegment& segment) {
  char there[kHeaderBlockBytes] = {};
  char right[kHeaderBlockBytes];
  encode_segment_header(segment.header, right);
  read_fully(segment.file.fd(), there, sizeof there, 0);
  for (std::uint64_t at : {std::uint64_t{0}, kHeaderCopyAt}) {
    if (std::memcmp(there + at, right + at, kHeaderCopyAt) == 0) continue;
    report_.damaged.push_back({segment_name_, at, kHeaderCopyAt, segment.header.base_offset, 0,
                               "one copy of the segment header is damaged; the other is good"});
  }
}

void Verification::check_record(const SegmentCursor::Event& event) {
  const std::string_view metadata{event.payload + event.header.message_bytes,
                                  event.header.metadata_bytes};
  record_.message = {event.payload, event.header.message_bytes};
  if (!decode_metadata(metadata, record_)) {
    add(event, 1, "metadata malformed");
    return;
  }
  ++report_.records;
  if (event.padding_damaged) add(event, 0, "the zeros after the record are not zero");
}

void Verification::missing(std::uint64_t next_offset, std::uint64_t position, const char* what) {
  next_offset = std::min(next_offset, std::max(end_.offset(), expected_));
  if (next_offset > expected_ || position == 0) {
    report_.damaged.push_back(
        {segment_name_, position, 0, expected_, next_offset - expected_, what});
  }
  expected_ = next_offset;
}

void Verification::add(const SegmentCursor::Event& event, std::uint64_t records, const char* what) {
  std::string text = what;
  if (event.io_error != 0) text = std::system_category().message(event.io_error);
  report_.damaged.push_back({segment_name_, event.position, event.end - event.position,
                             event.first_offset, records, std::move(text)});
}

}  // namespace

std::expected<VerifyReport, LogError> verify(const std::filesystem::path& directory,
                                             const std::function<void(double)>& progress,
                                             const std::function<bool(std::uint64_t)>& pace) {
  auto opened = open_log(directory);
  if (!opened) return std::unexpected(std::move(opened.error()));
  return Verification(std::move(*opened), progress, pace).run(directory);
}

}  // namespace mxring::seglog
