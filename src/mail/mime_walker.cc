#include "mail/mime_walker.h"

#include <algorithm>

#include "base/assert.h"
#include "base/text.h"

namespace mxring::mail {

namespace {

constexpr std::size_t kNoLevel = ~std::size_t{0};

// Before the line end that precedes `at`, which belongs to the boundary (RFC 2046 5.1.1).
std::size_t before_line_end(std::string_view text, std::size_t begin, std::size_t at) {
  if (at > begin && text[at - 1] == '\n') --at;
  if (at > begin && text[at - 1] == '\r') --at;
  return at;
}

// What mailboxes put in front of a message; "From : a@b" is a field (RFC 5322 4.5).
bool is_mbox_line(std::string_view text) {
  if (!text.starts_with("From ")) return false;
  const std::size_t word = text.find_first_not_of(" \t", 4);
  return word == std::string_view::npos || text[word] != ':';
}

std::string_view without_blanks_at_end(std::string_view text) {
  const std::size_t last = text.find_last_not_of(" \t\r\n");
  return text.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

}  // namespace

const HeaderField* MimeWalker::find(const MimePart& part, std::string_view name) const& {
  MXRING_ASSERT(part.fields_begin + part.fields_count <= fields_.size());
  const HeaderField* begin = fields_.data() + part.fields_begin;
  return find_field(begin, begin + part.fields_count, name);
}

MimeWalker::Level& MimeWalker::push_level() {
  if (depth_ == levels_.size()) levels_.emplace_back();
  MXRING_ASSERT(depth_ < levels_.size() && depth_ <= budget_.depth_max);
  return levels_[depth_++];
}

void MimeWalker::read_type(MimePart& part) {
  part.encoding = TransferEncoding::kIdentity;
  if (const HeaderField* field = find(part, "Content-Transfer-Encoding")) {
    part.encoding = find_transfer_encoding(field->value);
  }
  const HeaderField* field = find(part, "Content-Type");
  part.typed = field != nullptr;
  if (field != nullptr) {
    type_parser_.parse(field->value, *charsets_, part.type);
    limits_.parameters = limits_.parameters || part.type.truncated;
    if (!part.type.type.empty() && !part.type.subtype.empty()) return;
    // What is no type counts as none (RFC 2045 5.2).
    part.type.type = "text";
    part.type.subtype = "plain";
    return;
  }
  const bool digest = part.parent != kNoPart && parts_[part.parent].type.is("multipart", "digest");
  part.type.type = digest ? "message" : "text";
  part.type.subtype = digest ? "rfc822" : "plain";
  part.type.parameters.clear();
  part.type.truncated = false;
}

std::uint32_t MimeWalker::begin_part(std::uint32_t parent, bool is_message, std::size_t at) {
  if (used_ == parts_.size()) parts_.emplace_back();
  MXRING_ASSERT(used_ < parts_.size() && (parent == kNoPart || parent < used_));
  const auto index = static_cast<std::uint32_t>(used_++);
  MimePart& part = parts_[index];
  part.parent = parent;
  part.depth = parent == kNoPart ? 0 : parts_[parent].depth + 1;
  part.message = is_message || parent == kNoPart ? index : parts_[parent].message;
  part.fields_begin = static_cast<std::uint32_t>(fields_.size());
  part.fields_count = 0;
  part.header_begin = part.header_end = part.body_begin = part.body_end = at;
  part.multipart = part.embedded = false;
  part.closed = true;
  open_leaf_ = index;
  return index;
}

// Reads the header section line by line, because a boundary may come before it ends. Returns where
// the next line begins.
std::size_t MimeWalker::read_header(std::uint32_t index, std::size_t at) {
  HeaderBudget budget = index == 0 ? budget_.message_header : budget_.part_header;
  const std::size_t left = budget_.fields_max - std::min(budget_.fields_max, fields_.size());
  budget.fields = std::min(budget.fields, left);
  MXRING_ASSERT(at <= message_.size() && index < used_);
  HeaderScanner scanner(budget, fields_);
  MimePart& part = parts_[index];
  const std::size_t begin = at;
  part.body_begin = kNoLevel;
  if (part.message == index && is_mbox_line(message_.substr(at))) {
    at += first_line(message_.substr(at)).size();
  }
  while (at < message_.size()) {
    const std::string_view line = first_line(message_.substr(at));
    bool closing = false;
    if (line.starts_with("--") && match(line, closing) != kNoLevel) break;
    const HeaderScanner::Line what = scanner.take(line);
    if (what == HeaderScanner::Line::kTaken) {
      at += line.size();
      continue;
    }
    part.header_end = at;
    if (what == HeaderScanner::Line::kEmpty) at += line.size();
    part.body_begin = at;
    break;
  }
  if (part.body_begin == kNoLevel) {  // the message, or a boundary, ends the section
    part.header_end = part.body_begin = at;
  }
  MXRING_ASSERT(at >= begin);
  limits_.header_bytes = limits_.header_bytes || scanner.over_bytes();
  limits_.header_fields = limits_.header_fields || scanner.over_fields();
  MXRING_ASSERT(part.header_begin <= part.header_end && part.header_end <= part.body_begin);
  part.fields_count = static_cast<std::uint32_t>(fields_.size()) - part.fields_begin;
  part.body_end = part.body_begin;
  read_type(part);
  return at;
}

// What the header says comes next. True: a message begins right here.
bool MimeWalker::open_level(std::uint32_t index) {
  MimePart& part = parts_[index];
  if (part.type.type == "multipart") {
    const std::string* boundary = part.type.find("boundary");
    if (boundary == nullptr || without_blanks_at_end(*boundary).empty()) return false;
    if (part.depth >= budget_.depth_max) {
      limits_.depth = true;
      return false;
    }
    part.multipart = true;
    part.closed = false;
    MXRING_ASSERT(open_leaf_ == index);
    Level& level = push_level();
    level.part = index;
    level.boundary.assign(without_blanks_at_end(*boundary));
    note_lengths();
    open_leaf_ = kNoPart;
    return false;
  }
  const bool message = part.type.is("message", "rfc822") || part.type.is("message", "global");
  if (!message || part.encoding != TransferEncoding::kIdentity) return false;
  if (part.depth >= budget_.depth_max) {
    limits_.depth = true;
    return false;
  }
  if (used_ >= budget_.parts_max) {
    limits_.parts = true;
    return false;
  }
  part.embedded = true;
  Level& level = push_level();
  level.part = index;
  level.boundary.clear();
  return true;
}

// Which lengths open boundaries have, so that most lines need no more than a look at theirs.
void MimeWalker::note_lengths() {
  MXRING_ASSERT(depth_ <= levels_.size());
  lengths_ = 0;
  for (std::size_t level = 0; level < depth_; ++level) {
    const std::size_t size = levels_[level].boundary.size();
    if (size > 0) lengths_ |= std::uint64_t{1} << std::min<std::size_t>(size, 63);
  }
}

// The level whose boundary the line is; it begins with "--".
std::size_t MimeWalker::match(std::string_view line, bool& closing) const {
  std::string_view text = without_blanks_at_end(line);
  text.remove_prefix(std::min<std::size_t>(2, text.size()));
  const auto has = [&](std::size_t size) {
    return (lengths_ >> std::min<std::size_t>(size, 63)) & 1U;
  };
  if (text.empty() || (!has(text.size()) && (text.size() < 2 || !has(text.size() - 2)))) {
    return kNoLevel;
  }
  for (std::size_t level = depth_; level-- > 0;) {
    const std::string& boundary = levels_[level].boundary;
    if (boundary.empty() || text.size() < boundary.size() || text.size() > boundary.size() + 2 ||
        !text.starts_with(boundary)) {
      continue;
    }
    const std::string_view rest = text.substr(boundary.size());
    if (!rest.empty() && rest != "--") continue;
    closing = !rest.empty();
    return level;
  }
  return kNoLevel;
}

// Everything inside the first `keep` levels ends at `end`.
void MimeWalker::close_levels(std::size_t keep, std::size_t end) {
  MXRING_ASSERT(keep <= depth_ && end <= message_.size());
  if (open_leaf_ != kNoPart) {
    MimePart& leaf = parts_[open_leaf_];
    leaf.body_end = std::max(leaf.body_begin, end);
    end = leaf.body_end;  // what it is in ends no sooner
    open_leaf_ = kNoPart;
  }
  while (depth_ > keep) {
    MimePart& part = parts_[levels_[--depth_].part];
    MXRING_ASSERT(part.multipart || part.embedded);
    part.body_end = std::max(part.body_begin, end);
    end = part.body_end;
  }
  note_lengths();
}

// False: the budget of parts is used up.
bool MimeWalker::on_boundary(std::size_t level, bool closing, std::size_t line_begin,
                             std::size_t after) {
  MXRING_ASSERT(level < depth_ && line_begin < after && after <= message_.size());
  const std::uint32_t container = levels_[level].part;
  const std::size_t end = before_line_end(message_, parts_[container].body_begin, line_begin);
  close_levels(level + 1, end);
  if (closing) {
    // The epilogue belongs to the multipart and to no part: its body goes on to where what it is
    // in ends, which close_levels() of that finds.
    parts_[container].closed = true;
    levels_[level].boundary.clear();
    note_lengths();
    position_ = after;
    return true;
  }
  if (used_ >= budget_.parts_max) {
    limits_.parts = true;
    return false;
  }
  std::uint32_t part = begin_part(container, false, after);
  position_ = read_header(part, after);
  while (open_level(part)) {
    part = begin_part(part, true, position_);
    position_ = read_header(part, position_);
  }
  return true;
}

void MimeWalker::walk(std::string_view message, const MimeBudget& budget,
                      CharsetDecoder& charsets) {
  message_ = message;
  budget_ = budget;
  charsets_ = &charsets;
  used_ = depth_ = 0;
  lengths_ = 0;
  fields_.clear();
  limits_ = {};
  std::uint32_t part = begin_part(kNoPart, true, 0);
  position_ = read_header(part, 0);
  while (open_level(part)) {
    part = begin_part(part, true, position_);
    position_ = read_header(part, position_);
  }
  bool within = true;
  while (within && position_ < message_.size()) {
    if (lengths_ == 0) break;  // without an open boundary nothing more can begin
    const std::size_t begin = position_;
    while (position_ < message_.size()) {
      const std::string_view line = first_line(message_.substr(position_));
      bool closing = false;
      const std::size_t level = line.starts_with("--") ? match(line, closing) : kNoLevel;
      if (level != kNoLevel) {
        within = on_boundary(level, closing, position_, position_ + line.size());
        break;
      }
      position_ += line.size();
    }
    MXRING_ASSERT(position_ > begin || !within);
  }
  walked_ = within ? message_.size() : position_;
  close_levels(0, walked_);
  MXRING_ASSERT(depth_ == 0 && open_leaf_ == kNoPart && used_ > 0);
}

}  // namespace mxring::mail
