#include "smtp/reply_parser.h"

#include <algorithm>
#include <cstring>

namespace mxring::smtp {

namespace {

// The three digits at the start of a reply line; 0 when they are not a reply code.
int code_of(std::string_view line) {
  if (line.size() < 3) return 0;
  int code = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    if (line[i] < '0' || line[i] > '9') return 0;
    code = code * 10 + (line[i] - '0');
  }
  return code >= 200 && code < 600 ? code : 0;
}

}  // namespace

void ReplyParser::reset() {
  kept_size_ = line_bytes_ = 0;
  lines_ = 0;
  code_ = 0;
  text_ = {};
}

ReplyParser::Result ReplyParser::next(std::string_view& input) {
  const void* found = input.empty() ? nullptr : std::memchr(input.data(), '\n', input.size());
  const std::size_t size =
      found == nullptr ? input.size()
                       : static_cast<std::size_t>(static_cast<const char*>(found) - input.data());
  const std::string_view part = input.substr(0, size);
  input.remove_prefix(found == nullptr ? size : size + 1);
  line_bytes_ += size;
  if (line_bytes_ > kLineMax) return Result::kMalformed;
  // The usual line lies whole in the input and is not copied.
  if (found != nullptr && kept_size_ == 0 && line_bytes_ == size) return finish(part);
  const std::size_t room = std::min(part.size(), kLineKept - kept_size_);
  std::memcpy(kept_.data() + kept_size_, part.data(), room);
  kept_size_ += room;
  if (found == nullptr) return Result::kNeedMore;
  return finish({kept_.data(), kept_size_});
}

ReplyParser::Result ReplyParser::finish(std::string_view line) {
  // Cut alike whether or not it came in one piece.
  const bool whole = line_bytes_ <= kLineKept;
  line = line.substr(0, kLineKept);
  if (whole && line.ends_with('\r')) line.remove_suffix(1);
  kept_size_ = line_bytes_ = 0;
  const int code = code_of(line);
  const char separator = line.size() > 3 ? line[3] : ' ';
  if (code == 0 || (separator != ' ' && separator != '-')) return Result::kMalformed;
  if (lines_ != 0 && code != code_) return Result::kMalformed;
  code_ = code;
  text_ = line.size() > 4 ? line.substr(4) : std::string_view();
  if (separator == ' ') {
    lines_ = 0;
    return Result::kReply;
  }
  if (++lines_ == kLinesMax) return Result::kMalformed;
  return Result::kLine;
}

}  // namespace mxring::smtp
