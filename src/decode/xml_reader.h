// XML (1.0) as reports need it: elements and their text, read while it arrives in pieces of any
// size. Attributes, comments and processing instructions are passed over. There are no entities but
// the five of the standard and character references, and a document type declaration is an error:
// nothing can expand. Namespace prefixes are cut off. Linear time, and no memory but one token.
//
// Contract: feed() consumes everything, whatever the split; after an error it does nothing more.
// The handler hears of elements nested deeper than depth_max only by their number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mxring::decode {

class XmlHandler {
 public:
  virtual void begin(std::string_view name) = 0;
  virtual void text(std::string_view text) = 0;  // in pieces; entities decoded
  virtual void end() = 0;
  // False: no more.
  virtual bool go_on() const = 0;

 protected:
  ~XmlHandler() = default;
};

enum class XmlError : std::uint8_t {
  kNone,
  kSyntax,
  kDoctype,
  kToken,     // a tag or name longer than kXmlTokenBytesMax
  kMismatch,  // an end tag that is not of the element that is open
  kEnd,       // the document ends early
};
std::string_view words(XmlError error);

constexpr std::size_t kXmlTokenBytesMax = 64 * 1024;

class XmlReader {
 public:
  void begin(XmlHandler& handler, std::uint32_t depth_max);
  void feed(std::string_view piece);
  // At the end of the document.
  XmlError finish();

  XmlError error() const { return error_; }
  bool done() const { return done_; }  // the root has ended
  bool too_deep() const { return too_deep_; }
  bool unknown_entity() const { return unknown_entity_; }  // left in the text as it stood

 private:
  enum class State : std::uint8_t { kText, kComment, kInstruction, kCdata };

  std::size_t take(std::string_view text, bool last);
  std::size_t take_markup(std::string_view text);
  std::size_t take_until(std::string_view text, std::string_view mark);
  std::size_t take_text(std::string_view text, bool last);
  std::size_t take_entity(std::string_view text, bool last);
  void open(std::string_view tag);
  void close(std::string_view tag);
  void fail(XmlError error) { error_ = error; }
  bool stopped() const { return error_ != XmlError::kNone || done_ || !handler_->go_on(); }

  XmlHandler* handler_ = nullptr;
  std::uint32_t depth_max_ = 0;
  State state_ = State::kText;
  std::string tail_;                // an unfinished token
  std::vector<std::string> names_;  // of the open elements, down to depth_max_
  std::uint64_t depth_ = 0;
  XmlError error_ = XmlError::kNone;
  bool root_seen_ = false;
  bool done_ = false;
  bool too_deep_ = false;
  bool unknown_entity_ = false;
};

}  // namespace mxring::decode
