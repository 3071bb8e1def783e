// One message between its first content byte and the commit acknowledgement: slices of receive
// buffers, the references that keep those buffers, the header index, and the running CRC.
//
// Ownership: belongs to the shard's Delivery while it is received; lent to the writer thread
// between submission and acknowledgement, which reads slices and metadata and writes only `outcome`
// and `offset`; then the shard's again, which releases the buffers.
//
// Copies: none, except those counted in copied_*: fragments too small to be worth a buffer, and
// runs moved together when a message consists of a great many tiny ones.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/limits.h"
#include "base/slot_pool.h"
#include "mail/header_index.h"
#include "smtp/reply.h"
#include "uring/buffer_pool.h"

namespace mxring::server {

enum class CommitOutcome : std::uint8_t { kPending, kDurable, kNoSpace, kNoResources, kFailed };

class Message {
 public:
  // `from_line`: see mail::HeaderIndex.
  Message(uring::BufferPool& buffers, const base::Limits& limits, bool from_line = false);
  ~Message();
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  // Adds the next run of content, which lies in `buffer`.
  void append(std::string_view run, uring::BufferId buffer);
  // The parser is done with `buffer` and the message goes on: if it holds only a few bytes of ours,
  // copies them out so that a dribbling client cannot pin a whole buffer with each byte.
  void settle(uring::BufferId buffer);
  // Lets go of everything kept; ready for the next message.
  void clear();

  std::span<const iovec> slices() const { return slices_; }
  std::uint64_t bytes() const { return bytes_; }
  std::uint32_t crc32c() const { return crc_; }
  const mail::HeaderIndex& header() const { return header_; }
  mail::HeaderIndex& header() { return header_; }
  // Message bytes [begin, end): a view into a buffer when they lie in one piece, else gathered into
  // `scratch` (and counted).
  std::string_view bytes_between(std::uint32_t begin, std::uint32_t end, std::string& scratch);
  // The bytes [begin, end) as views into the buffers, appended to `runs`.
  void runs_of(std::uint64_t begin, std::uint64_t end, std::vector<std::string_view>& runs) const;
  std::size_t buffers_held() const { return buffers_.size(); }
  std::uint64_t buffer_bytes() const {
    return std::uint64_t{buffers_.size()} * pool_.options().buffer_bytes;
  }
  std::uint64_t heap_bytes() const;

  std::uint64_t copied_fragment_bytes = 0;
  std::uint64_t copied_compact_bytes = 0;
  std::uint64_t copied_header_bytes = 0;

  // Set by Delivery at end of data, read by the writer.
  std::string metadata;
  base::WallTime received_at;
  base::SlotRef client;

  // Refused for its verdict: only the fact is recorded, under this reply.
  void refuse(const smtp::Reply& reply);
  bool is_refused() const { return refusal_.has_value(); }
  smtp::Reply refusal() const { return smtp::Reply(*refusal_).with(refusal_text_); }
  // Lets go of the content; header() stays.
  void drop_content();

  // Set by the writer.
  CommitOutcome outcome = CommitOutcome::kPending;
  std::uint64_t offset = 0;

 private:
  std::optional<smtp::ReplyId> refusal_;
  std::string refusal_text_;

  void push_slice(char* data, std::size_t size);

  uring::BufferPool& pool_;
  mail::HeaderIndex header_;
  std::vector<iovec> slices_;
  std::vector<uring::BufferId> buffers_;  // one reference each
  std::uint64_t bytes_ = 0;
  std::uint32_t crc_ = 0;
  // The buffer the newest slices lie in, and where they begin.
  std::size_t open_slices_begin_ = 0;
  std::uint64_t open_bytes_ = 0;
  bool open_ = false;
  // Fragments are gathered here.
  bool has_gather_ = false;
  uring::BufferId gather_ = 0;
  std::uint32_t gather_used_ = 0;
};

}  // namespace mxring::server
