#include "smtp/data_scanner.h"

#include <algorithm>

#include "base/assert.h"
#include "smtp/block_scan.h"

namespace mxring::smtp {

DataScanner::DataScanner(std::uint32_t line_flag_bytes, std::uint32_t line_bytes_max)
    : line_flag_bytes_(line_flag_bytes), line_bytes_max_(line_bytes_max) {}

void DataScanner::reset() {
  *this = DataScanner(line_flag_bytes_, line_bytes_max_);
}

void DataScanner::judge_line(std::uint64_t bytes, std::size_t at) {
  if (bytes > line_flag_bytes_) long_line_ = true;
  if (bytes > line_bytes_max_) note(DataFault::kLineTooLong, at);
}

void DataScanner::take(std::string_view content) {
  MXRING_ASSERT(raw_ || content_bytes_ == 0);
  raw_ = true;
  origin_ = content_bytes_;
  for (std::size_t at = 0; at < content.size();) {
    const std::size_t end = scan_content(content, at);
    MXRING_ASSERT(end > at || content[at] == '.');
    at = end;
    if (at == content.size()) break;
    at_ = At::kText;  // a dot that begins a line, and the line's first byte
    judge_line(++line_bytes_, at);
    ++at;
  }
  content_bytes_ += content.size();
}

void DataScanner::take_end() {
  MXRING_ASSERT(raw_ || content_bytes_ == 0);
  origin_ = content_bytes_;
  if (at_ == At::kCr) note(DataFault::kBareCr, 0);
}

DataScanner::Output DataScanner::next(std::string_view input, bool rewritable) {
  MXRING_ASSERT(!raw_);
  std::size_t at = 0;
  for (; at < input.size(); ++at) {
    const char c = input[at];
    if (at_ == At::kLineStart && c == '.') {
      at_ = At::kDot;
    } else if (at_ == At::kDot && c == '\r') {
      at_ = At::kDotCr;
    } else if (at_ == At::kDotCr && c == '\n') {
      at_ = At::kLineStart;
      return {Output::Kind::kEndOfData, at + 1, {}};
    } else {
      break;
    }
  }
  if (at == input.size()) return {Output::Kind::kNeedInput, at, {}};
  origin_ = content_bytes_ - at;
  if (at_ == At::kDotCr) note(DataFault::kBareCr, at);
  if (at_ == At::kDot || at_ == At::kDotCr) at_ = At::kText;

  std::size_t end = scan_content(input, at);
  std::size_t run_end = end;
  if (rewritable && at_ == At::kLineStart && end - at < kBlockBytes) {
    end = unstuff(input, end, run_end);
  }
  MXRING_ASSERT(at <= run_end && run_end <= end && end <= input.size());
  content_bytes_ += run_end - at;
  return {Output::Kind::kRun, end, input.substr(at, run_end - at)};
}

// From a dot at the start of a line on, as long as such lines go on; what is content is moved to
// `to`, which goes along. Returns where that ends.
std::size_t DataScanner::unstuff(std::string_view input, std::size_t at, std::size_t& to) {
  if (std::min(line_flag_bytes_, line_bytes_max_) < kBlockBytes) return at;
  Unstuff state;
  state.at_line_start = true;
  state.dots = true;
  state.line_bytes_max = fault_ == DataFault::kNone ? line_bytes_max_ : INT64_MAX;
  state.want_faults = fault_ == DataFault::kNone;
  auto* const bytes = const_cast<char*>(input.data());  // rewritable
  const std::size_t begin = at;
  while (state.dots && input.size() - at >= kUnstuffBytes) {
    const Unstuffed done = unstuff_block(bytes + at, bytes + to, state);
    if (done.taken == 0) break;
    at += done.taken;
    to += done.written;
  }
  if (at == begin) return at;
  at_ = state.after_cr ? At::kCr : state.at_line_start ? At::kLineStart : At::kText;
  line_bytes_ = static_cast<std::uint64_t>(state.line_bytes - (state.after_cr ? 1 : 0));
  eight_bit_ |= state.eight_bit;
  if (state.longest_line > line_flag_bytes_) long_line_ = true;
  MXRING_ASSERT(to <= at && at <= input.size());
  return at;
}

std::size_t DataScanner::scan_content(std::string_view input, std::size_t at) {
  // Limits below a block's length would need a look at every line; only tests set such.
  if (std::min(line_flag_bytes_, line_bytes_max_) < kBlockBytes) {
    return scan_bytes(input, at, input.size());
  }
  return scan_blocks(input, at);
}

std::size_t DataScanner::scan_blocks(std::string_view input, std::size_t at) {
  while (at < input.size()) {
    LineScan scan;
    scan.after_cr = at_ == At::kCr;
    scan.at_line_start = at_ == At::kLineStart;
    scan.line_begin = -static_cast<std::int64_t>(line_bytes_ + (scan.after_cr ? 1 : 0));
    scan.line_bytes_max = line_bytes_max_;
    scan.want_faults = fault_ == DataFault::kNone;
    const std::size_t passed = scan_lines(input.data() + at, input.size() - at, scan);
    at += passed;
    at_ = scan.after_cr ? At::kCr : scan.at_line_start ? At::kLineStart : At::kText;
    const std::int64_t line_begin = scan.line_begin + (scan.after_cr ? 1 : 0);
    line_bytes_ = static_cast<std::uint64_t>(static_cast<std::int64_t>(passed) - line_begin);
    eight_bit_ |= scan.eight_bit;
    if (scan.longest_line > line_flag_bytes_) long_line_ = true;
    judge_line(line_bytes_, at);
    if (!scan.suspect) return at;
    const std::size_t end = std::min(input.size(), at + kBlockBytes);
    at = scan_bytes(input, at, end);
    if (at != end) return at;
  }
  return at;
}

std::size_t DataScanner::scan_bytes(std::string_view input, std::size_t at, std::size_t end) {
  for (; at < end; ++at) {
    const char c = input[at];
    if (at_ == At::kLineStart && c == '.') return at;
    if (at_ == At::kCr) {
      if (c == '\n') {
        at_ = At::kLineStart;
        line_bytes_ = 0;
        continue;
      }
      note(DataFault::kBareCr, at);
      judge_line(++line_bytes_, at);
    }
    if (c == '\r') {
      at_ = At::kCr;
      continue;
    }
    if (c == '\n') note(DataFault::kBareLf, at);
    if (c == '\0') note(DataFault::kNul, at);
    if (static_cast<unsigned char>(c) >= 0x80) eight_bit_ = true;
    at_ = At::kText;
    judge_line(++line_bytes_, at);
  }
  return at;
}

}  // namespace mxring::smtp
