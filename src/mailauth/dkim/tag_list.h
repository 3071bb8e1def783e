// Tag lists (RFC 6376 3.2), the syntax of signature fields and of key records: "name=value; ...".
// Also the lists inside values, divided by colons. ARC and DMARC have the same syntax.
//
// Contract: the whole text is one list; white space (folded or not) around names and values is
// dropped, a semicolon may end the list. A name that comes twice, a specification without name or
// "=", and control characters are errors; bytes above 127 may stand in values (RFC 8616 4). At most
// kTagsMax tags: nobody needs more, and it bounds the search for duplicates.
//
// Pure. Everything returned points into the text given.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace mxring::mailauth::dkim {

constexpr std::size_t kTagsMax = 64;

struct Tag {
  std::string_view name;
  std::uint64_t key;  // of the name: equal for equal names, and for others only if both are long
  std::string_view value;  // without the white space around it
  std::string_view raw;    // with it: from behind the "=" up to the ";" or the end
};

struct TagError {
  std::string_view what;   // a constant
  std::string_view where;  // untrusted bytes
};

// Replaces `tags`, whose memory is kept.
[[nodiscard]] std::optional<TagError> parse_tag_list(std::string_view text, std::vector<Tag>& tags);

// Case matters. Null when it is not there.
const Tag* find_tag(const std::vector<Tag>& tags, std::string_view name);

bool is_folding_space(char c);  // space, tab, CR, LF
std::string_view trimmed(std::string_view text);

// The next item of a list divided by colons, trimmed; `rest` is moved behind it. False at the end.
// An empty list has one empty item.
class ColonList {
 public:
  explicit ColonList(std::string_view text) : rest_(text) {}
  bool next(std::string_view& item);

 private:
  std::string_view rest_;
  bool ended_ = false;
};

// In any case, for words that RFC 6376 writes as literals.
bool list_contains(std::string_view list, std::string_view word);

}  // namespace mxring::mailauth::dkim
