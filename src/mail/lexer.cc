#include "mail/lexer.h"

namespace mxring::mail {

namespace {

constexpr std::string_view kSpace = " \t\r\n";

}  // namespace

bool Lexer::take(char c) {
  if (done() || text_[at_] != c) return false;
  ++at_;
  return true;
}

bool Lexer::skip_blank() {
  std::size_t depth = 0;
  for (; !done(); ++at_) {
    const char c = text_[at_];
    if (c == '(') {
      ++depth;
    } else if (depth != 0 && c == ')') {
      --depth;
    } else if (depth != 0 && c == '\\') {
      ++at_;
    } else if (depth == 0 && !kSpace.contains(c)) {
      break;
    }
  }
  return depth == 0;
}

bool Lexer::quoted(std::string& out) {
  out.clear();
  for (++at_; !done(); ++at_) {
    char c = text_[at_];
    if (c == '"') {
      ++at_;
      return true;
    }
    if (c == '\r' || c == '\n') continue;  // folding; the space behind it stays
    if (c == '\\') {
      if (++at_ >= text_.size()) return false;
      c = text_[at_];
    }
    out += c;
  }
  return false;
}

std::string_view Lexer::word(std::string_view ends) {
  const std::size_t begin = at_;
  while (!done()) {
    const char c = text_[at_];
    if (kSpace.contains(c) || c == '(' || c == ')' || c == '"' || ends.contains(c)) break;
    ++at_;
  }
  return text_.substr(begin, at_ - begin);
}

}  // namespace mxring::mail
