#include "server/message.h"

#include <cstring>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/probe.h"

namespace mxring::server {

namespace {

// A kept buffer must hold at least this share of its size, or its bytes are copied out of it.
constexpr std::uint64_t kWorthKeeping = 8;
// Beyond this many slices per message, neighbours are moved together instead (a message whose every
// line begins with a dot would otherwise need more memory for slices than for itself).
constexpr std::size_t kSlicesFree = 64;
constexpr std::uint64_t kBytesPerSlice = 256;
// Memory a pooled message may keep for the next one.
constexpr std::size_t kSlicesKept = 2048;
constexpr std::size_t kMetadataKept = 16 * 1024;
static_assert(kSlicesFree < kSlicesKept && kWorthKeeping > 1);

}  // namespace

Message::Message(uring::BufferPool& buffers, const base::Limits& limits, bool from_line)
    : pool_(buffers), header_(limits.header_bytes, limits.header_fields, from_line) {}

Message::~Message() {
  clear();
}

void Message::push_slice(char* data, std::size_t size) {
  MXRING_ASSERT(size > 0 && pool_.contains(data));
  if (!slices_.empty()) {
    iovec& last = slices_.back();
    char* last_end = static_cast<char*>(last.iov_base) + last.iov_len;
    // Two buffers may lie side by side; a slice across both would hide from settle() what lies in
    // the one being parsed. Gathered fragments (no buffer is open then) do grow together.
    const bool inside = !open_ || slices_.size() > open_slices_begin_;
    if (last_end == data && inside) {
      last.iov_len += size;
      return;
    }
    // Only inside the buffer being parsed: what lies between the two has been parsed already.
    const bool same_buffer = slices_.size() > open_slices_begin_ && last_end < data;
    if (same_buffer && slices_.size() > kSlicesFree + bytes_ / kBytesPerSlice) {
      MXRING_PROBE("message: tiny runs move together");
      std::memmove(last_end, data, size);
      last.iov_len += size;
      copied_compact_bytes += size;
      return;
    }
  }
  slices_.push_back({data, size});
}

void Message::append(std::string_view run, uring::BufferId buffer) {
  if (run.empty()) return;
  if (!open_) {
    open_ = true;
    open_slices_begin_ = slices_.size();
    open_bytes_ = 0;
    pool_.add_ref(buffer);
    buffers_.push_back(buffer);
  }
  MXRING_ASSERT(buffers_.back() == buffer);
  if (header_.status() == mail::HeaderStatus::kMore) header_.feed(run);
  crc_ = base::crc32c(crc_, run.data(), run.size());
  MXRING_ASSERT(!is_refused() && open_slices_begin_ <= slices_.size());
  bytes_ += run.size();
  open_bytes_ += run.size();
  push_slice(const_cast<char*>(run.data()), run.size());
}

void Message::settle(uring::BufferId buffer) {
  if (!open_) return;
  open_ = false;
  MXRING_ASSERT(buffers_.back() == buffer);
  const std::uint32_t buffer_bytes = pool_.options().buffer_bytes;
  if (open_bytes_ * kWorthKeeping >= buffer_bytes) return;

  if (!has_gather_ || gather_used_ + open_bytes_ > buffer_bytes) {
    uring::BufferId fresh = 0;
    if (MXRING_BUGGIFY("no buffer to gather fragments in", 300) || !pool_.take(&fresh)) {
      MXRING_PROBE("message: no memory to save memory with, the buffer is kept");
      return;
    }
    // The new gathering buffer goes before the one being left, which is popped below.
    buffers_.back() = fresh;
    buffers_.push_back(buffer);
    gather_ = fresh;
    gather_used_ = 0;
    has_gather_ = true;
  }
  MXRING_ASSERT(has_gather_ && gather_used_ + open_bytes_ <= buffer_bytes);
  char* to = pool_.data(gather_) + gather_used_;
  char* at = to;
  for (std::size_t i = open_slices_begin_; i < slices_.size(); ++i) {
    std::memcpy(at, slices_[i].iov_base, slices_[i].iov_len);
    at += slices_[i].iov_len;
  }
  MXRING_ASSERT(static_cast<std::uint64_t>(at - to) == open_bytes_);  // all of it, and nothing else
  slices_.resize(open_slices_begin_);
  gather_used_ += static_cast<std::uint32_t>(open_bytes_);
  MXRING_PROBE("message: a fragment is copied out of its buffer");
  copied_fragment_bytes += open_bytes_;
  open_slices_begin_ = slices_.size();
  push_slice(to, open_bytes_);
  buffers_.pop_back();
  pool_.release(buffer);
}

std::string_view Message::bytes_between(std::uint32_t begin, std::uint32_t end,
                                        std::string& scratch) {
  MXRING_ASSERT(begin <= end && end <= bytes_);
  std::uint64_t slice_begin = 0;
  scratch.clear();
  for (const iovec& slice : slices_) {
    const std::uint64_t slice_end = slice_begin + slice.iov_len;
    if (begin < slice_end) {
      const char* data = static_cast<const char*>(slice.iov_base);
      const std::uint64_t from = begin - slice_begin;
      if (scratch.empty() && end <= slice_end) return {data + from, end - begin};
      const std::uint64_t size = std::min<std::uint64_t>(end, slice_end) - begin;
      scratch.append(data + from, size);
      begin += static_cast<std::uint32_t>(size);
      if (begin == end) break;
    }
    slice_begin = slice_end;
  }
  if (!scratch.empty()) MXRING_PROBE("message: a field straddles two buffers");
  copied_header_bytes += scratch.size();
  return scratch;
}

void Message::runs_of(std::uint64_t begin, std::uint64_t end,
                      std::vector<std::string_view>& runs) const {
  // What is new lies at the end: look for it from there.
  MXRING_ASSERT(begin <= end && end <= bytes_);
  std::uint64_t slice_begin = bytes_;
  std::size_t first = slices_.size();
  while (first > 0 && slice_begin > begin) slice_begin -= slices_[--first].iov_len;
  for (std::size_t i = first; i < slices_.size() && slice_begin < end; ++i) {
    std::string_view run(static_cast<const char*>(slices_[i].iov_base), slices_[i].iov_len);
    run = run.substr(0, end - slice_begin);
    if (slice_begin < begin) run.remove_prefix(begin - slice_begin);
    slice_begin += slices_[i].iov_len;
    if (!run.empty()) runs.push_back(run);
  }
}

void Message::refuse(const smtp::Reply& reply) {
  MXRING_ASSERT(reply.is_refusal());
  MXRING_ASSERT(!refusal_ && outcome == CommitOutcome::kPending);
  refusal_ = reply.id();
  refusal_text_ = reply.text();
  drop_content();
}

std::uint64_t Message::heap_bytes() const {
  return sizeof *this + slices_.capacity() * sizeof(iovec) +
         buffers_.capacity() * sizeof(uring::BufferId) + metadata.capacity() +
         header_.fields().size() * sizeof(mail::Field);
}

void Message::drop_content() {
  for (const uring::BufferId buffer : buffers_) pool_.release(buffer);
  buffers_.clear();
  slices_.clear();
  bytes_ = 0;
  crc_ = 0;
  open_ = false;
  has_gather_ = false;
}

void Message::clear() {
  drop_content();
  refusal_.reset();
  refusal_text_.clear();
  if (slices_.capacity() > kSlicesKept) slices_.shrink_to_fit();
  metadata.clear();
  if (metadata.capacity() > kMetadataKept) metadata.shrink_to_fit();
  header_.reset();
  open_slices_begin_ = 0;
  open_bytes_ = 0;
  gather_used_ = 0;
  copied_fragment_bytes = copied_compact_bytes = copied_header_bytes = 0;
  outcome = CommitOutcome::kPending;
  offset = 0;
}

}  // namespace mxring::server
