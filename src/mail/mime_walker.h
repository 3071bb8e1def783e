// The parts of a message (RFC 2045, 2046) as a flat list over the message's own bytes: no
// recursion, no copy, one pass. Bodies are still in their transfer encoding
// (mail/transfer_decoder.h).
//
// A line is a boundary when it is "--", the boundary, perhaps "--", and white space: the whole line
// (RFC 2046 5.1.1 `delimiter`; matching its beginning only, as the note there allows, cuts wrong
// where one boundary begins with another, which real mail has). Boundaries of all levels count, the
// innermost first. Parts in message/rfc822 are parts too; a message in a transfer encoding, which
// RFC 2046 5.2.1 forbids, is one part without parts.
//
// Budgets: parts nested deeper than depth_max stay whole; after parts_max parts the walk ends, and
// what is left belongs to no part; header sections beyond theirs lose fields. Each says so.
//
// Thread: one. walk() keeps the memory of the last message; the views are into the message, those
// of types and boundaries into the walker, and end with the next walk().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mail/content_type.h"
#include "mail/header_fields.h"
#include "mail/transfer_decoder.h"

namespace mxring::mail {

struct MimeBudget {
  std::uint32_t depth_max = 32;
  std::uint32_t parts_max = 1000;
  HeaderBudget message_header;                // of the message itself
  HeaderBudget part_header{64 * 1024, 1000};  // of each part and message inside
  std::size_t fields_max = 20'000;            // of all header sections together
};

constexpr std::uint32_t kNoPart = 0xFFFF'FFFF;

struct MimePart {
  std::uint32_t parent = kNoPart;
  std::uint32_t depth = 0;         // the message itself: 0
  std::uint32_t message = 0;       // the part that is the message this one belongs to
  std::uint32_t fields_begin = 0;  // into MimeWalker::fields()
  std::uint32_t fields_count = 0;
  std::size_t header_begin = 0;  // in bytes from the start of the message
  std::size_t header_end = 0;    // before the empty line
  std::size_t body_begin = 0;
  std::size_t body_end = 0;  // before the line end that belongs to the boundary after it
  TransferEncoding encoding = TransferEncoding::kIdentity;
  bool multipart = false;  // its children are its parts
  bool embedded = false;   // its one child is the message in it
  bool closed = true;      // false: a multipart without its closing boundary
  bool typed = false;      // it has a Content-Type field
  MediaField type;         // text/plain when it has none
};

struct MimeLimits {
  bool depth = false;
  bool parts = false;
  bool header_bytes = false;
  bool header_fields = false;
  bool parameters = false;
};

class MimeWalker {
 public:
  void walk(std::string_view message, const MimeBudget& budget, CharsetDecoder& charsets);

  std::span<const MimePart> parts() const& { return {parts_.data(), used_}; }
  std::span<const MimePart> parts() const&& = delete;
  std::span<const HeaderField> fields(const MimePart& part) const& {
    return std::span(fields_).subspan(part.fields_begin, part.fields_count);
  }
  std::span<const HeaderField> fields(const MimePart& part) const&& = delete;
  const HeaderField* find(const MimePart& part, std::string_view name) const&;
  const HeaderField* find(const MimePart& part, std::string_view name) const&& = delete;
  std::string_view body(const MimePart& part) const {
    return message_.substr(part.body_begin, part.body_end - part.body_begin);
  }
  const MimeLimits& limits() const { return limits_; }
  // Where the walk ended: the size of the message, unless there were too many parts.
  std::size_t walked() const { return walked_; }

 private:
  struct Level {
    std::uint32_t part = 0;
    std::string boundary;  // empty: a message, which ends with what it is in
  };
  std::uint32_t begin_part(std::uint32_t parent, bool is_message, std::size_t at);
  std::size_t read_header(std::uint32_t index, std::size_t at);
  void end_header(std::uint32_t index);
  bool open_level(std::uint32_t index);
  Level& push_level();
  void read_type(MimePart& part);
  std::size_t match(std::string_view line, bool& closing) const;
  void note_lengths();
  void close_levels(std::size_t keep, std::size_t end);
  bool on_boundary(std::size_t level, bool closing, std::size_t line_begin, std::size_t after);

  std::string_view message_;
  MimeBudget budget_;
  CharsetDecoder* charsets_ = nullptr;
  MediaFieldParser type_parser_;
  std::vector<MimePart> parts_;  // only the first used_ count; the rest is memory kept
  std::size_t used_ = 0;
  std::vector<HeaderField> fields_;
  std::vector<Level> levels_;
  std::size_t depth_ = 0;              // levels in use
  std::uint64_t lengths_ = 0;          // of their boundaries, one bit each
  std::uint32_t open_leaf_ = kNoPart;  // the part whose body is being passed
  std::size_t position_ = 0;
  std::size_t walked_ = 0;
  MimeLimits limits_;
};

}  // namespace mxring::mail
