#include "decode/token.h"

#include <algorithm>

#include "base/assert.h"
#include "base/text.h"
#include "mail/header_fields.h"

namespace mxring::decode {

namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), base::ascii_lower);
  return out;
}

std::size_t find_lower(std::string_view text, std::string_view lower_piece, std::size_t from) {
  const auto found =
      std::search(text.begin() + static_cast<long>(from), text.end(), lower_piece.begin(),
                  lower_piece.end(), [](char a, char b) { return base::ascii_lower(a) == b; });
  return found == text.end() && !lower_piece.empty()
             ? std::string_view::npos
             : static_cast<std::size_t>(found - text.begin());
}

constexpr std::size_t kPatternBytesMax = 256;

}  // namespace

std::expected<TokenPattern, std::string> TokenPattern::parse(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (text.size() > kPatternBytesMax) return std::unexpected("longer than 256 bytes");
  if (colon == std::string_view::npos || colon == 0) {
    return std::unexpected("begin with \"recipient:\" or a field's name and a colon");
  }
  TokenPattern pattern;
  pattern.field_ = lower(mail::trimmed(text.substr(0, colon)));
  if (pattern.field_ == "recipient") pattern.field_.clear();
  std::string_view rest = mail::trimmed(text.substr(colon + 1));
  std::string* into = &pattern.head_;
  int tokens = 0;
  while (!rest.empty()) {
    const bool token = rest.starts_with("{}");
    if (token || rest[0] == '*') {
      if (!pattern.pieces_.empty() && pattern.pieces_.back().text.empty()) {
        return std::unexpected("two of {} and * without text between them");
      }
      tokens += token ? 1 : 0;
      pattern.pieces_.push_back({"", token});
      into = &pattern.pieces_.back().text;
      rest.remove_prefix(token ? 2 : 1);
    } else {
      *into += base::ascii_lower(rest[0]);
      rest.remove_prefix(1);
    }
  }
  if (tokens != 1) return std::unexpected("it needs {} once, where the token stands");
  MXRING_ASSERT(!pattern.pieces_.empty());
  return pattern;
}

std::optional<std::string_view> TokenPattern::find(std::string_view value) const {
  if (value.size() < head_.size() || find_lower(value.substr(0, head_.size()), head_, 0) != 0) {
    return std::nullopt;
  }
  std::size_t at = head_.size();
  std::optional<std::string_view> token;
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    std::size_t end = std::string_view::npos;
    if (i + 1 == pieces_.size()) {  // the last piece ends the value
      if (value.size() < at + piece.text.size()) return std::nullopt;
      end = value.size() - piece.text.size();
      if (find_lower(value.substr(end), piece.text, 0) != 0) return std::nullopt;
    } else {
      end = find_lower(value, piece.text, at);
      if (end == std::string_view::npos) return std::nullopt;
    }
    MXRING_ASSERT(end >= at);
    if (piece.token) token = value.substr(at, end - at);
    at = end + piece.text.size();
    MXRING_ASSERT(at <= value.size());
  }
  if (!token || token->empty()) return std::nullopt;
  return token;
}

}  // namespace mxring::decode
