#include "decode/xml_reader.h"

#include <charconv>

#include "base/assert.h"

namespace mxring::decode {

namespace {

bool is_white(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

std::string_view without_prefix(std::string_view name) {
  const std::size_t colon = name.rfind(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

// The name at the start of a tag, with its prefix.
std::string_view name_of(std::string_view tag) {
  std::size_t end = 0;
  while (end < tag.size() && !is_white(tag[end]) && tag[end] != '/') ++end;
  return tag.substr(0, end);
}

// After the ">" that ends the tag at the start of `text`; 0 when it is not there yet. Quoted
// attribute values may have one in them.
std::size_t tag_end(std::string_view text) {
  std::size_t at = text.find_first_of(">\"'");
  while (at != std::string_view::npos) {
    if (text[at] == '>') return at + 1;
    at = text.find(text[at], at + 1);
    if (at != std::string_view::npos) at = text.find_first_of(">\"'", at + 1);
  }
  return 0;
}

std::size_t encode_utf8(std::uint32_t code, char* out) {
  if (code < 0x80) {
    out[0] = static_cast<char>(code);
    return 1;
  }
  MXRING_ASSERT(code <= 0x10FFFF && (code < 0xD800 || code > 0xDFFF));
  const std::size_t bytes = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (std::size_t i = bytes; i-- > 1; code >>= 6U) {
    out[i] = static_cast<char>(0x80U | (code & 0x3FU));
  }
  out[0] = static_cast<char>((0xF00U >> bytes) | code);
  return bytes;
}

constexpr std::size_t kEntityBytesMax = 12;
constexpr std::size_t kTailStep = 64;
static_assert(kEntityBytesMax < kTailStep && kTailStep < kXmlTokenBytesMax);

}  // namespace

std::string_view words(XmlError error) {
  switch (error) {
    case XmlError::kNone:
      return "";
    case XmlError::kSyntax:
      return "its XML is not well-formed";
    case XmlError::kDoctype:
      return "its XML has a document type declaration, which is not read";
    case XmlError::kToken:
      return "its XML has a tag of more than 64 KiB";
    case XmlError::kMismatch:
      return "its XML has an end tag that ends nothing";
    case XmlError::kEnd:
      return "its XML ends early";
  }
  return "";
}

void XmlReader::begin(XmlHandler& handler, std::uint32_t depth_max) {
  handler_ = &handler;
  depth_max_ = depth_max;
  state_ = State::kText;
  tail_.clear();
  names_.resize(std::max<std::size_t>(names_.size(), depth_max));
  depth_ = 0;
  error_ = XmlError::kNone;
  root_seen_ = done_ = too_deep_ = unknown_entity_ = false;
}

void XmlReader::feed(std::string_view piece) {
  // An unfinished token is completed in pieces as long as itself, so that it is looked at a few
  // times only, however it ends.
  MXRING_ASSERT(handler_ != nullptr);
  while (!tail_.empty() && !piece.empty() && !stopped()) {
    const std::size_t before = tail_.size();
    const std::size_t bytes = std::min(piece.size(), std::max(before, kTailStep));
    tail_.append(piece.substr(0, bytes));
    const std::size_t taken = take(tail_, false);
    MXRING_ASSERT(taken <= tail_.size());
    if (taken >= before) {  // what is left lies in the piece as well
      piece.remove_prefix(taken - before);
      tail_.clear();
      break;
    }
    piece.remove_prefix(bytes);
    tail_.erase(0, taken);
    if (tail_.size() > kXmlTokenBytesMax) fail(XmlError::kToken);
  }
  if (stopped() || piece.empty()) return;
  const std::size_t taken = take(piece, false);
  if (stopped()) return;
  MXRING_ASSERT(tail_.empty());
  tail_.assign(piece.substr(taken));
  if (tail_.size() > kXmlTokenBytesMax) fail(XmlError::kToken);
}

XmlError XmlReader::finish() {
  if (!stopped() && !tail_.empty()) take(tail_, true);
  tail_.clear();
  if (error_ == XmlError::kNone && !done_ && handler_->go_on()) error_ = XmlError::kEnd;
  return error_;
}

// How many bytes were whole tokens.
std::size_t XmlReader::take(std::string_view text, bool last) {
  std::size_t at = 0;
  while (at < text.size() && !stopped()) {
    std::size_t taken = 0;
    const std::string_view rest = text.substr(at);
    switch (state_) {
      case State::kComment:
        taken = take_until(rest, "-->");
        break;
      case State::kInstruction:
        taken = take_until(rest, "?>");
        break;
      case State::kCdata:
        taken = take_until(rest, "]]>");
        break;
      case State::kText:
        taken = rest[0] == '<' ? take_markup(rest) : take_text(rest, last);
        break;
    }
    if (taken == 0) break;
    MXRING_ASSERT(taken <= rest.size());
    at += taken;
  }
  return at;
}

// Inside a comment, an instruction or a CDATA section: to its end, or all but what may begin it.
std::size_t XmlReader::take_until(std::string_view text, std::string_view mark) {
  MXRING_ASSERT(!mark.empty() && state_ != State::kText);
  const std::size_t end = text.find(mark);
  std::size_t inside = end;
  if (end == std::string_view::npos) {
    inside = text.size() - std::min(text.size(), mark.size() - 1);
  }
  if (state_ == State::kCdata && inside > 0 && depth_ > 0 && depth_ <= depth_max_) {
    handler_->text(text.substr(0, inside));
  }
  if (end == std::string_view::npos) return inside;
  state_ = State::kText;
  return end + mark.size();
}

std::size_t XmlReader::take_markup(std::string_view text) {
  constexpr std::string_view kCommentMark = "<!--";
  constexpr std::string_view kCdataMark = "<![CDATA[";
  constexpr std::string_view kDoctypeMark = "<!DOCTYPE";
  MXRING_ASSERT(text.starts_with('<'));
  if (text.size() < 2) return 0;
  if (text[1] == '?') {
    state_ = State::kInstruction;
    return 2;
  }
  if (text[1] == '!') {
    for (const std::string_view mark : {kCommentMark, kCdataMark, kDoctypeMark}) {
      if (text.size() < mark.size() && mark.starts_with(text)) return 0;  // it may become one
    }
    if (text.starts_with(kCommentMark)) {
      state_ = State::kComment;
      return kCommentMark.size();
    }
    if (text.starts_with(kCdataMark) && depth_ > 0) {
      state_ = State::kCdata;
      return kCdataMark.size();
    }
    fail(text.starts_with(kDoctypeMark) ? XmlError::kDoctype : XmlError::kSyntax);
    return 0;
  }
  const std::size_t end = tag_end(text.substr(0, kXmlTokenBytesMax + 1));
  if (end == 0) {
    if (text.size() > kXmlTokenBytesMax) fail(XmlError::kToken);
    return 0;
  }
  const std::string_view tag = text.substr(1, end - 2);
  if (tag.starts_with('/')) {
    close(tag.substr(1));
  } else {
    open(tag);
  }
  return end;
}

void XmlReader::open(std::string_view tag) {
  const std::string_view name = name_of(tag);
  if (name.empty() || (root_seen_ && depth_ == 0)) return fail(XmlError::kSyntax);
  root_seen_ = true;
  const bool empty = tag.ends_with('/');
  if (depth_ >= depth_max_) {
    too_deep_ = true;
    if (!empty) ++depth_;
    return;
  }
  MXRING_ASSERT(names_.size() >= depth_max_);
  handler_->begin(without_prefix(name));
  if (empty) {
    handler_->end();
    done_ = depth_ == 0;
    return;
  }
  MXRING_ASSERT(depth_ < names_.size() && depth_ < depth_max_);
  names_[depth_++].assign(name);
}

void XmlReader::close(std::string_view tag) {
  if (depth_ == 0) return fail(XmlError::kMismatch);
  if (depth_ > depth_max_) {
    --depth_;
    return;
  }
  MXRING_ASSERT(depth_ <= names_.size());
  if (names_[depth_ - 1] != name_of(tag)) return fail(XmlError::kMismatch);
  --depth_;
  handler_->end();
  done_ = depth_ == 0;
}

std::size_t XmlReader::take_text(std::string_view text, bool last) {
  if (text[0] == '&' && depth_ > 0) return take_entity(text, last);
  const std::size_t end = std::min(text.find_first_of("<&", 1), text.size());
  MXRING_ASSERT(end > 0);
  const std::string_view plain = text.substr(0, end);
  if (depth_ == 0) {
    // Outside of the root there is only white space, and a byte order mark at the very start.
    for (const char c : plain) {
      const bool mark = !root_seen_ && (static_cast<unsigned char>(c) & 0x80U) != 0;
      if (!is_white(c) && !mark) fail(XmlError::kSyntax);
    }
  } else if (depth_ <= depth_max_) {
    handler_->text(plain);
  }
  return end;
}

std::size_t XmlReader::take_entity(std::string_view text, bool last) {
  // A tag ends what would have become an entity.
  const std::size_t end = text.substr(0, kEntityBytesMax).find_first_of(";<");
  MXRING_ASSERT(text.starts_with('&') && depth_ > 0);
  const bool inside = depth_ <= depth_max_;
  if (end == std::string_view::npos || text[end] == '<') {
    if (end == std::string_view::npos && text.size() < kEntityBytesMax && !last) return 0;
    unknown_entity_ = true;
    if (inside) handler_->text("&");
    return 1;
  }
  const std::string_view name = text.substr(1, end - 1);
  constexpr struct {
    std::string_view name, text;
  } kEntities[] = {{"lt", "<"}, {"gt", ">"}, {"amp", "&"}, {"apos", "'"}, {"quot", "\""}};
  for (const auto& entity : kEntities) {
    if (entity.name != name) continue;
    if (inside) handler_->text(entity.text);
    return end + 1;
  }
  if (name.size() > 1 && name[0] == '#') {
    const bool hex = name[1] == 'x';
    std::uint32_t code = 0;
    const char* first = name.data() + (hex ? 2 : 1);
    const char* stop = name.data() + name.size();
    const auto [at, error] = std::from_chars(first, stop, code, hex ? 16 : 10);
    if (error == std::errc() && at == stop && first != stop && code > 0 && code <= 0x10FFFF &&
        (code < 0xD800 || code > 0xDFFF)) {
      char bytes[4];
      const std::size_t size = encode_utf8(code, bytes);
      if (inside) handler_->text({bytes, size});
      return end + 1;
    }
  }
  unknown_entity_ = true;
  if (inside) handler_->text(text.substr(0, end + 1));
  return end + 1;
}

}  // namespace mxring::decode
