#include "seglog/find.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>

#include "seglog/identity.h"
#include "seglog/log_directory.h"
#include "seglog/log_end.h"
#include "seglog/metadata.h"
#include "seglog/segment_cursor.h"
#include "seglog/segment_seek.h"

namespace mxring::seglog {

namespace {

// Where records are small, reading everything costs less than a system call for each.
constexpr std::uint64_t kSmallRecordBytes = 6 << 10;
constexpr std::uint64_t kSampleRecords = 64;

struct Job {
  std::uint64_t base = 0;
  std::uint64_t limit = 0;
};

class Search {
 public:
  Search(int log_fd, Offset first, Offset next, const std::function<bool(const Record&)>& matches,
         unsigned threads_max)
      : log_fd_(log_fd), first_(first), next_(next), matches_(matches), threads_max_(threads_max) {}

  FindResult run();

 private:
  void work();
  void look_through(const Job& job, FindResult& found, Record& record);
  void hop(const OpenSegment& segment, std::uint64_t limit, SegmentCursor& cursor,
           FindResult& found, Record& record);
  void look_at(const RecordHeader& header, const char* metadata, FindResult& found, Record& record);

  int log_fd_;
  Offset first_;
  Offset next_;
  const std::function<bool(const Record&)>& matches_;
  const unsigned threads_max_;
  std::vector<Job> jobs_;
  std::vector<FindResult> results_;       // one a job
  std::atomic<std::size_t> next_job_{0};  // who adds to it has that job, and its result, alone
};

FindResult Search::run() {
  LogEnd end(log_fd_);
  end.refresh();
  next_ = std::min(next_, end.offset());
  const auto bases = list_segments(log_fd_).value_or(std::vector<std::uint64_t>{});
  for (std::size_t i = 0; i < bases.size() && bases[i] < next_; ++i) {
    if (i + 1 < bases.size() && bases[i + 1] <= first_) continue;
    if (const auto segment = open_segment(log_fd_, bases[i])) {
      jobs_.push_back({bases[i], end.limit(*segment)});
    }
  }
  results_.resize(jobs_.size());
  const std::size_t threads = std::min<std::size_t>(
      {jobs_.size(), std::max(1U, std::thread::hardware_concurrency()), threads_max_});
  std::vector<std::thread> others;
  for (std::size_t i = 1; i < threads; ++i) {
    try {
      others.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
      break;  // with those there are
    }
  }
  work();
  for (std::thread& thread : others) thread.join();
  FindResult all;
  for (const FindResult& one : results_) {
    all.offsets.insert(all.offsets.end(), one.offsets.begin(), one.offsets.end());
    all.records_seen += one.records_seen;
    all.bytes_read += one.bytes_read;
  }
  return all;
}

void Search::work() {
  Record record;  // its vectors' memory serves every record
  for (std::size_t i = next_job_.fetch_add(1); i < jobs_.size(); i = next_job_.fetch_add(1)) {
    look_through(jobs_[i], results_[i], record);
  }
}

void Search::look_through(const Job& job, FindResult& found, Record& record) {
  const auto segment = open_segment(log_fd_, job.base);
  if (!segment) return;
  record.log_id = log_id_of(segment->header);
  SegmentCursor cursor(SegmentCursor::kReadAhead);
  FileWindow wide(segment->file.fd(), SegmentCursor::kReadAhead);
  seek_in_segment(log_fd_, *segment, job.limit, std::max(first_, job.base), cursor);
  const std::uint64_t begin = cursor.position();
  while (cursor.offset() < next_) {
    const auto event = cursor.read(job.limit, false);
    if (event.kind == SegmentCursor::Kind::kSeal || event.kind == SegmentCursor::Kind::kEnd) break;
    if (event.kind == SegmentCursor::Kind::kRecord && event.header.offset >= first_) {
      const RecordHeader& header = event.header;
      look_at(header,
              wide.at(event.position + kRecordHeaderBytes + header.message_bytes,
                      header.metadata_bytes, job.limit),
              found, record);
    }
    cursor.advance(event);
    // The first few tell how large records are here.
    if (found.records_seen >= kSampleRecords &&
        (cursor.position() - begin) / found.records_seen > kSmallRecordBytes) {
      hop(*segment, job.limit, cursor, found, record);
    }
  }
  if (!still_same_segment(log_fd_, *segment)) found = {};  // removed, and used for something else
}

// Large records, one system call each: a record's metadata and the next one's header lie side by
// side. Ends, with the cursor there, at whatever is no good record.
void Search::hop(const OpenSegment& segment, std::uint64_t limit, SegmentCursor& cursor,
                 FindResult& found, Record& record) {
  FileWindow window(segment.file.fd(), 1);
  const auto event = cursor.read(limit, false);
  if (event.kind != SegmentCursor::Kind::kRecord) return;
  RecordHeader header = event.header;
  std::uint64_t position = event.position;
  while (header.offset < next_) {
    const std::uint64_t metadata_at = position + kRecordHeaderBytes + header.message_bytes;
    const std::uint64_t next_at = position + header.span_bytes;
    const bool more = next_at + kRecordHeaderBytes <= limit;
    const std::uint64_t wanted =
        more ? next_at + kRecordHeaderBytes - metadata_at : header.metadata_bytes;
    const char* bytes = window.at(metadata_at, wanted, limit);
    look_at(header, bytes, found, record);
    cursor.start(segment.file.fd(), segment.key(), next_at, header.offset + 1);
    if (bytes == nullptr || !more) return;
    const auto next = decode_record_header(bytes + (next_at - metadata_at), segment.key());
    const bool expected = next && !next->is_seal() && next->offset == header.offset + 1 &&
                          next->span_bytes <= limit - next_at;
    if (!expected) return;  // the cursor finds out what is there
    header = *next;
    position = next_at;
  }
}

void Search::look_at(const RecordHeader& header, const char* metadata, FindResult& found,
                     Record& record) {
  ++found.records_seen;
  found.bytes_read += kRecordHeaderBytes + header.metadata_bytes;
  if (metadata == nullptr) return;
  record.offset = header.offset;
  record.received_at_us = header.received_at_us;
  record.bytes = {metadata, header.metadata_bytes};
  if (!decode_metadata(record.bytes, record) || matches_(record)) {
    found.offsets.push_back(header.offset);
  }
}

}  // namespace

std::expected<FindResult, LogError> find_records(const std::filesystem::path& log, Offset first,
                                                 Offset next,
                                                 const std::function<bool(const Record&)>& matches,
                                                 unsigned threads_max) {
  const auto opened = open_log(log);
  if (!opened) return std::unexpected(opened.error());
  return Search(opened->fd(), first, next, matches, threads_max).run();
}

}  // namespace mxring::seglog
