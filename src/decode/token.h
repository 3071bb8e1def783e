// What a sender put into a message to find it again when it bounces: in the return path (VERP,
// "bounces+1234@example.org") or in a field of the message ("X-Campaign: 1234"). A pattern says
// where: `recipient:` and the address, or a field's name and its value; {} is the token, * is
// anything. Letters compare without case.
//
//   recipient: bounces+{}@example.org
//   X-Campaign-Id: {}
//
// Not a regular expression, on purpose: it is applied to text from anybody, and takes linear time.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::decode {

class TokenPattern {
 public:
  // The error says what is wrong with it.
  static std::expected<TokenPattern, std::string> parse(std::string_view text);

  bool in_recipient() const { return field_.empty(); }
  const std::string& field() const { return field_; }  // lower case
  // The token in `value`; a view into it.
  std::optional<std::string_view> find(std::string_view value) const;

 private:
  struct Piece {
    std::string text;    // lower case, what stands after the gap
    bool token = false;  // what the gap before it is: the token, else anything
  };

  std::string field_;  // empty: the recipient
  std::string head_;   // before the first gap, lower case
  std::vector<Piece> pieces_;
};

}  // namespace mxring::decode
