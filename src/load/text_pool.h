// Prepared text of which message bodies are cut: about a mebibyte of lines of varied length, in
// paragraphs, some quoted, some beginning with a dot. The text lies here as it goes over the wire,
// with those dots doubled (RFC 5321 4.5.2), and a table of where each line begins, counted both as
// sent and as received. A body is a handful of slices into it: nothing is copied or composed.
//
// Thread: built before the run, read by all workers. The slices hold as long as the pool.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mxring::load {

class TextPool {
 public:
  // `chunks`: for BDAT, dots are not doubled (RFC 3030 2).
  explicit TextPool(std::uint64_t seed, std::size_t wire_bytes = 1 << 20, bool chunks = false);

  // Appends slices whose content is exactly `content_bytes` long after unstuffing, begins with line
  // `first_line` (taken modulo the number of lines), ends in CRLF, and is followed by the dot that
  // ends the data. `content_bytes` is not 1: no text of one byte ends in CRLF.
  void cut(std::uint64_t first_line, std::uint64_t content_bytes, std::vector<iovec>& out) const;

  std::size_t lines() const { return starts_.size() - 1; }

 private:
  struct Start {
    std::uint64_t wire = 0;     // offset in wire_
    std::uint64_t content = 0;  // offset with the stuffed dots taken out
  };
  void push(std::size_t from, std::size_t to, std::vector<iovec>& out) const;

  std::string wire_;
  std::vector<Start> starts_;  // of each line, and of the end
  // Plain text, CRLF, dot, CRLF: the end of it fills a message up to its size and ends the data.
  std::string tail_;
};

}  // namespace mxring::load
