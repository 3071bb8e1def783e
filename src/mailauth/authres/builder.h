// Builds an Authentication-Results field (RFC 8601 2.2) from typed values:
//
//   Builder builder(text);                        // appended to
//   builder.begin("mx.example.org");
//   builder.result("dkim", "pass").reason("...").comment("...").property("header", "d", domain);
//   builder.end();
//
// Whatever a value holds, it stays one value: it is written as a token or an address where it is
// one, and as a quoted string otherwise, which reads back as the same value. Only control
// characters, line ends, NUL and bytes that are not UTF-8 are written as \xNN, as in our logs. So
// nothing of a message can end the field, close a comment or look like a result. Values are cut
// after kValueBytesMax bytes, with "..." behind what is left.
//
// Each result begins a line; lines are folded to 78 columns where a value is not longer than that.
//
// Thread: the owner's. Memory: the string's. Failure: none.
#pragma once

#include <string>
#include <string_view>

namespace mxring::mailauth::authres {

constexpr std::size_t kValueBytesMax = 320;  // 64 + 1 + 255, an address as RFC 5321 4.5.3.1 has it
constexpr std::size_t kColumnsMax = 78;      // RFC 5322 2.1.1

// What the builder makes of a value before it is quoted.
void append_clean(std::string& out, std::string_view value);

class Builder {
 public:
  explicit Builder(std::string& out) : out_(out) {}

  void begin(std::string_view authserv_id);
  // In the order of the grammar: result, then comment, reason and properties. The names and the
  // result's word are constants of ours.
  Builder& result(std::string_view method, std::string_view word);
  Builder& comment(std::string_view text);  // nothing for an empty one
  Builder& reason(std::string_view text);   // nothing for an empty one
  Builder& property(std::string_view type, std::string_view name, std::string_view value);
  // "none" when there was no result; the last CRLF.
  void end();

 private:
  void put(std::string_view chunk);  // a space, or a fold, and the chunk
  void fold();
  void write_value(std::string_view value);  // to chunk_

  std::string& out_;
  std::string chunk_;
  std::string clean_;
  std::size_t line_begin_ = 0;
  bool any_ = false;
};

}  // namespace mxring::mailauth::authres
