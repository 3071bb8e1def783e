// The lexical part of a structured header field (RFC 5322 3.2, RFC 2045 5.1): comments, folding,
// quoted strings and words.
//
// Pure. Goes through the text once, however deep comments are nested.
#pragma once

#include <string>
#include <string_view>

namespace mxring::mail {

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  bool done() const { return at_ >= text_.size(); }
  char peek() const { return done() ? '\0' : text_[at_]; }
  std::size_t position() const { return at_; }
  bool take(char c);
  // Comments, white space and line ends, bare ones too. False for a comment that is not closed.
  bool skip_blank();
  // The quoted string here, without quotes and backslashes. False when it is not closed.
  bool quoted(std::string& out);
  // Up to white space, a parenthesis, a quote or one of `ends`; may be empty.
  std::string_view word(std::string_view ends);

 private:
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace mxring::mail
