// How far a log may be read, asked again and again. While a writer lives, the state page says so;
// without one, the newest segment itself does: its seal, or else the end found by find_tail().
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "seglog/format.h"
#include "seglog/log_directory.h"
#include "seglog/tail.h"

namespace mxring::seglog {

class LogEnd {
 public:
  // `directory_fd` stays open as long as the object is used.
  explicit LogEnd(int directory_fd) : directory_fd_(directory_fd) {}

  void refresh();

  // The system refused to tell: what the rest of this object says is what it knew before.
  struct Trouble {
    std::string file;
    int error = 0;
  };
  const std::optional<Trouble>& trouble() const { return trouble_; }

  std::uint64_t offset() const { return offset_; }  // one past the newest durable record
  // Bytes of this segment that may be read; for the one in use its next write position.
  std::uint64_t limit(const OpenSegment& segment) const;
  // False when the end lies in a later life of the segment: open it again.
  bool agrees_with(const OpenSegment& segment) const;
  bool is_last(const OpenSegment& segment) const { return segment.header.base_offset == segment_; }
  // False while a writer looks for the end: it may be beyond offset().
  bool sure() const { return sure_; }
  bool live() const { return live_; }
  bool poisoned() const { return poisoned_; }
  // Without a live writer: what find_tail() saw after and before the end of an unsealed segment.
  const std::optional<Tail>& tail() const { return tail_; }

 private:
  bool open_state();
  std::expected<bool, int> writer_lives();
  void ask_newest_segment(const std::optional<StateFields>& state);
  const Tail& tail_of(const OpenSegment& segment, const std::optional<StateFields>& state);

  int directory_fd_;
  ReadFile state_file_;
  ReadFile lock_file_;
  std::uint64_t state_inode_ = 0;
  std::uint64_t offset_ = 0;
  std::uint64_t segment_ = 0;
  std::uint64_t position_ = 0;
  std::uint64_t epoch_ = 0;
  bool live_ = false;
  bool sure_ = true;
  bool poisoned_ = false;
  std::optional<Trouble> trouble_;
  // What tail_ was found from; it is found again only when one of these has changed.
  std::optional<Tail> tail_;
  std::uint64_t tail_inode_ = 0;
  std::uint64_t tail_epoch_ = 0;
  std::uint64_t tail_file_bytes_ = 0;
  std::uint64_t tail_sequence_ = 0;
};

}  // namespace mxring::seglog
